package session

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// The tests of this file hold the decoder to as much work as the models want.

// wanting gives a catalog of models that share an input, which are told apart by what follows.
func wanting(models ...media.Model) uplink.Catalog {
	catalog := faces()
	catalog.Models = nil
	for i, m := range models {
		m.Name, m.InputID, m.Deadline = fmt.Sprint("m", i), 1, 2*time.Second
		catalog.Models = append(catalog.Models, m)
	}
	return catalog
}

// video sends a picture in one packet, 33 ms of media time after the one before, and takes as long.
func (b *bench) video(codec media.Codec, payload ...byte) {
	b.seq++
	b.ts += 3000
	b.packets <- peer.Packet{
		RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96 + uint8(codec), SequenceNumber: b.seq, Timestamp: b.ts, SSRC: 5, Marker: true}, Payload: payload},
		Codec: codec, Arrival: time.Now(),
	}
	<-time.After(time.Second / 30)
}

// vp8 sends a VP8 picture; N says that nothing depends on it.
func (b *bench) vp8(key, disposable bool) {
	payload := []byte{0x10, 0x01, 0, 0, 1, 2, 3}
	if key {
		payload = []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0}
	}
	if disposable {
		payload[0] |= 0x20
	}
	b.video(media.VP8, payload...)
}

// vp9 sends a VP9 picture of a temporal layer; switches says that higher layers start afresh after it.
func (b *bench) vp9(key bool, layer byte, switches bool) {
	head := []byte{0xbc, 0x80, 0, layer << 5} // I, L, F, B, E; number; layers
	if switches {
		head[3] |= 0x10
	}
	if key {
		head = append(head, 0x82, 0x49, 0x83, 0x42, 0)
	} else {
		head = append(head, 0x87, 0xff, 0)
	}
	id := b.seq + 1
	head[1], head[2] = 0x80|byte(id>>8), byte(id)
	b.video(media.VP9, head...)
}

// decodes gives what the decoder has been given since the last time: k for key units, 1 for other ones that were to be converted, - for those
// that were not.
func (b *bench) decodes() (word string) {
	synctest.Wait()
	b.decoder.mu.Lock()
	defer b.decoder.mu.Unlock()
	for _, u := range b.decoder.units {
		switch {
		case len(u.Targets) > 1:
			word += "?"
		case u.Unit.Key:
			word += "k"
		case len(u.Targets) > 0:
			word += "1"
		default:
			word += "-"
		}
	}
	b.decoder.units = nil
	return word
}

func (b *bench) want(t *testing.T, what, word string) {
	t.Helper()
	if got := b.decodes(); got != word {
		t.Errorf("%s: decoded %s, want %s", what, got, word)
	}
}

func TestDisposableUnitsThatAreNotDueAreNotDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wanting(media.Model{Rate: 10}), 1e9)
		b.vp8(true, false)
		for range 4 { // every third is due
			b.vp8(false, true)
			b.vp8(false, false)
			b.vp8(false, false)
		}
		b.want(t, "due are those that are needed", "k-1-1-1-1")
		b.vp8(false, false)
		b.vp8(false, false)
		for range 2 {
			b.vp8(false, true)
			b.vp8(false, false)
			b.vp8(false, true)
		}
		b.want(t, "and now the others", "--1-1-")
		b.stop()
		if c := b.book.counts()[0]; c.Received != 21 || c.NotDue != 14 || c.Models[0].Results != 7 {
			t.Errorf("counts: %+v", c)
		}
	})
}

func TestTemporalLayersAreDecodedAsFarAsTheyAreNeeded(t *testing.T) {
	for _, switches := range []bool{true, false} {
		t.Run(fmt.Sprintf("starts afresh %v", switches), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, wanting(media.Model{Rate: 7.5}), 1e9)
				pattern := func(groups int) {
					for range groups {
						for i, layer := range []byte{0, 2, 1, 2} {
							b.vp9(b.seq == 0, layer, switches && i == 0)
						}
					}
				}
				pattern(15)
				_ = b.decodes()
				pattern(3)
				b.want(t, "the lowest layer is enough", "111")
				b.live.w = newWants(wanting(media.Model{Rate: 7.5}, media.Model{Rate: 15}).Models, faces().Inputs)
				pattern(10)
				got := b.decodes()
				b.live.w = newWants(wanting(media.Model{}).Models, faces().Inputs)
				pattern(3)
				all := b.decodes()
				if switches && (got != "11111111111111111111" || all != "111111111111") {
					t.Errorf("with two layers needed %s is decoded, with three %s", got, all)
				}
				if !switches && (got != "1111111111" || all != "111") {
					t.Errorf("without a way back %s and %s are decoded", got, all)
				}
				if n := b.asked(); n != 0 {
					t.Errorf("%d key frames asked for", n)
				}
				pattern(10)
				n := b.asked()
				if !switches && n != 1 || switches && n != 0 {
					t.Errorf("%d key frames asked for in the end", n)
				}
				b.vp9(true, 0, false)
				pattern(1)
				if got := b.decodes(); got[len(got)-5:] != "k1111" {
					t.Errorf("after a key frame %s is decoded", got)
				}
				b.stop()
				if c := b.book.counts()[0]; c.Models[0].Drops[media.Damaged] != 0 {
					t.Errorf("nothing was lost, but %+v", c)
				}
			})
		})
	}
}

func TestModelsOfKeyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := media.Model{Rate: 1, KeyOnly: true}
		b := newBench(t, wanting(keys), 1e9)
		b.vp8(true, false)
		for range 28 {
			b.vp8(false, false)
		}
		b.want(t, "key frames only", "k")
		if n := b.asked(); n != 0 {
			t.Errorf("%d key frames asked for in the first second", n)
		}
		for range 60 {
			b.vp8(false, false)
		}
		if n := b.asked(); n != 2 { // unanswered
			t.Errorf("%d key frames asked for in the next two", n)
		}
		b.vp8(true, false)
		b.vp8(true, false)
		b.want(t, "and again, but not before its time", "k")
		b.live.w = newWants(wanting(keys, media.Model{Rate: 15}).Models, faces().Inputs)
		b.vp8(false, false)
		b.vp8(false, false)
		b.want(t, "until a key frame the others cannot be had", "")
		if n := b.asked(); n != 3 {
			t.Errorf("%d key frames asked for, want another", n)
		}
		b.vp8(true, false)
		b.vp8(false, false)
		b.vp8(false, false)
		b.want(t, "all", "k-1")
		b.live.w = newWants(wanting(keys).Models, faces().Inputs)
		b.vp8(false, false)
		b.vp8(false, true)
		b.want(t, "key frames only again", "")
		b.stop()
		c := b.book.counts()[0]
		if got := c.Models[0]; got.Accepted != 2 || got.Results != 2 {
			t.Errorf("the model of key frames: %+v", got)
		}
	})
}

func TestModelsThatShareAnInputShareTheConversion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog := wanting(media.Model{Rate: 30}, media.Model{Rate: 15}, media.Model{Rate: 10})
		catalog.Inputs = append(catalog.Inputs, catalog.Inputs[0])
		catalog.Inputs[1].ID, catalog.Inputs[1].Picture.Width = 2, 64
		catalog.Models[2].InputID = 2
		b := newBench(t, catalog, 1e9)
		b.vp8(true, false)
		for range 5 {
			b.vp8(false, false)
		}
		synctest.Wait()
		got := ""
		for _, u := range b.decoder.units {
			got += fmt.Sprintf("%d ", len(u.Targets))
		}
		frames := ""
		for _, f := range b.uplink.frames {
			frames += fmt.Sprintf("%d:", f.Sequence)
			for _, d := range f.Due {
				frames += d.Model
			}
			frames += " "
		}
		if got != "2 1 1 2 1 1 " || frames != "1:m0m1 1:m2 2:m0 3:m0m1 4:m0 4:m2 5:m0m1 6:m0 " {
			t.Errorf("converted to %sforms, sent %s", got, frames)
		}
		b.stop()
	})
}

// TestARecoveryPointIsWhereDecodingStarts tells the decoder so, which would wait for a key unit.
func TestARecoveryPointIsWhereDecodingStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		var keys []bool
		b.decoder.decode = func(q decoder.Request) ([]decoder.Picture, error) {
			keys = append(keys, q.Unit.Key)
			return nil, nil
		}
		b.nals(3000, slice())
		b.nals(6000, sps(), pps(), recovery(), slice())
		b.nals(9000, slice())
		b.nals(12000, sps(), pps(), recovery(), slice())
		synctest.Wait()
		if fmt.Sprint(keys) != "[true false false]" {
			t.Errorf("decoding starts %v", keys)
		}
		b.stop()
	})
}
