package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// dictation is a channel of sound with everything around it replaced, in the time of a synctest bubble.
type dictation struct {
	*ear
	messages chan []byte
	stop     func()
}

func (v *dictation) Read() (message []byte, text bool, n int, err error) {
	message, ok := <-v.messages
	switch {
	case !ok:
		return nil, false, 0, io.EOF
	case message == nil:
		return nil, false, 5 << 20, peer.ErrMessageTooLarge
	}
	return message, false, len(message), nil
}

func (v *dictation) SetReadDeadline(time.Time) error { return nil }

// newDictation starts what a channel of a protocol has. It must be stopped inside the bubble.
func newDictation(t *testing.T, protocol string, catalog uplink.Catalog, bitrate int64) *dictation {
	t.Helper()
	v := &dictation{ear: newEar(t, catalog), messages: make(chan []byte)}
	kind := parseProtocol(protocol)
	l := v.listener(kind.models...)
	v.decoder.listen = mean
	sounds := newSoundQueue(1 << 20)
	intake := newChannelIntake(kind, &stream{name: "voice", content: kind.content, live: &v.live, book: v.book}, newBudget(bitrate, 4<<20), newSlot(), sounds)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(newMessageReader(v, intake, 4<<20).run)
	running.Go(func() { newSoundPlayer(l, sounds, kind).run(ctx) })
	running.Go(func() { v.book.run(ctx) })
	v.stop = func() { close(v.messages); cancel(); running.Wait(); v.book.close() }
	return v
}

// mean decodes raw sound by leaving samples out or repeating them.
func mean(r decoder.SoundRequest, dst []int16) ([]int16, error) {
	width := 2
	if r.Codec == media.PCMF32 {
		width = 4
	}
	frames := len(r.Data) / width / r.Channels
	if r.Op != decoder.Decode || frames*width*r.Channels != len(r.Data) || frames > r.SourceRate {
		return dst, errors.New("not whole samples, or more than a second")
	}
	for i := range r.Samples {
		at := r.Data[i*frames/r.Samples*width*r.Channels:]
		if width == 4 {
			dst = append(dst, int16(math.Float32frombits(binary.LittleEndian.Uint32(at))*32768))
			continue
		}
		dst = append(dst, int16(binary.LittleEndian.Uint16(at)))
	}
	return dst, nil
}

// ramp gives samples that count up, as S16LE.
func ramp(from, samples int) []byte {
	var b []byte
	for i := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(from+i))
	}
	return b
}

// waveFile puts samples of 16 bits into a file.
func waveFile(rate, channels int, samples []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("RIFF"), uint32(36+len(samples)))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00"...)
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*channels*2))
	b = le.AppendUint16(b, uint16(channels*2))
	b = le.AppendUint16(b, 16)
	return append(le.AppendUint32(append(b, "data"...), uint32(len(samples))), samples...)
}

// fresh joins the fresh samples of windows.
func fresh(windows []heard) (all []int16) {
	for _, w := range windows {
		all = append(all, w.samples...)
	}
	return all
}

func TestRawSoundGoesUpInWindows(t *testing.T) {
	for protocol, length := range map[string]int{ // of a message
		"audio/x-raw;format=S16LE;rate=16000;channels=1": 1600,
		"audio/x-raw;format=S16LE;rate=16000":            37,
		"audio/wav":                                      16000,
		"":                                               777,
	} {
		t.Run(fmt.Sprintf("%q in pieces of %d", protocol, length), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newDictation(t, protocol, speech(), 1e9)
				const total = 32000
				for n := 0; n < total; n += length {
					piece := min(length, total-n)
					<-time.After(time.Duration(piece) * time.Second / 16000)
					b := ramp(n, piece)
					if parseProtocol(protocol).codec == media.CodecUnknown {
						b = waveFile(16000, 1, b)
					}
					v.messages <- b
				}
				<-time.After(time.Second) // the last message may be that long
				windows, ends := v.settled(7)
				v.stop()
				n := continuous(t, windows, v.live.w.inputs[7].Sound, 0, 0)
				if n != total/512*512 || ends["result"] != n/512 || len(ends) != 1 {
					t.Errorf("%d samples of %d, %v", n, total, ends)
				}
				for i, sample := range fresh(windows) {
					if sample != int16(i) {
						t.Fatalf("sample %d is %d", i, sample)
					}
				}
				checkBook(t, v.book)
			})
		})
	}
}

func TestRawSoundOfAnyLayout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDictation(t, "audio/x-raw;format=F32LE;rate=44100;channels=2", speech(), 1e9)
		var b []byte
		for range 44100 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(0.5))
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(-0.25))
		}
		v.messages <- b
		<-time.After(time.Second)
		windows, ends := v.settled(7)
		v.stop()
		if len(windows) != 31 || ends["result"] != 31 || slices.Min(fresh(windows)) != 16384 {
			t.Errorf("%d windows, %v", len(windows), ends)
		}
	})
}

// A long message goes up as it would have come from a microphone.
func TestALongMessageGoesUpAtThePaceOfItsSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDictation(t, "audio/wav", speech(), 1e9)
		began := time.Now()
		v.messages <- waveFile(16000, 1, ramp(0, 3*16000))
		<-time.After(time.Second)
		synctest.Wait()
		v.mu.Lock()
		if n := len(v.heard[7]); n < 31 || n > 35 {
			t.Errorf("%d windows after a second", n)
		}
		v.mu.Unlock()
		<-time.After(2 * time.Second)
		windows, ends := v.settled(7)
		if len(windows) != 93 || ends["result"] != 93 {
			t.Errorf("%d windows of three seconds, %v", len(windows), ends)
		}
		for i, w := range windows {
			// The first sample's time, or up to 100 ms before it.
			arrived := w.Due[0].Deadline.Add(-250 * time.Millisecond).Sub(began)
			if at := time.Duration(i) * 32 * time.Millisecond; arrived > at || arrived < at-100*time.Millisecond {
				t.Errorf("window %d arrived after %v, want %v", i, arrived, at)
			}
		}
		v.stop()
	})
}

// What was held up on the way is not what everybody waits for.
func TestANewerMessageHastensAnOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDictation(t, "audio/x-raw;format=S16LE;rate=16000", speech(), 1e9)
		v.messages <- ramp(0, 48000)
		<-time.After(500 * time.Millisecond)
		v.messages <- ramp(48000, 16000)
		<-time.After(200 * time.Millisecond)
		synctest.Wait()
		v.mu.Lock()
		if n := len(v.heard[7]); n < 48000/512 {
			t.Errorf("%d windows, but a second message came", n)
		}
		v.mu.Unlock()
		<-time.After(time.Second)
		windows, _ := v.settled(7)
		v.stop()
		if n := continuous(t, windows, v.live.w.inputs[7].Sound, 0, 0); n != 64000 {
			t.Errorf("%d samples", n)
		}
	})
}

func TestMessagesThatAreNoSoundEndInTheirOwnWay(t *testing.T) {
	good := func(n int) []byte { return ramp(n, 1600) }
	file := func(n int) []byte { return waveFile(16000, 1, ramp(n, 1600)) }
	const raw = "audio/x-raw;format=S16LE;rate=16000"
	for _, c := range []struct {
		name, protocol string
		bitrate        int64
		messages       [][]byte
		want           map[string]int
	}{
		{"half a sample", raw, 1e9, [][]byte{good(0), {1, 2, 3}, good(0)}, map[string]int{"result": 6, "DECODER": 1}},
		{"nothing", raw, 1e9, [][]byte{good(0), {}, good(0)}, map[string]int{"result": 6, "DECODER": 1}},
		{"too large", raw, 1e9, [][]byte{good(0), nil, good(0)}, map[string]int{"result": 6, "TOO_LARGE": 1}},
		{"more than the bitrate allows", raw, 1e4, [][]byte{good(0), make([]byte, 3<<20), make([]byte, 3<<20)},
			map[string]int{"result": (1600 + 3<<19) / 512, "RATE_LIMITED": 1}},
		{"a broken file", "audio/wav", 1e9, [][]byte{file(0), file(0)[:1000], []byte("sound"), file(0)}, map[string]int{"result": 6, "DECODER": 2}},
		{"a file of another rate", "audio/wav", 1e9, [][]byte{file(0), waveFile(48000, 2, ramp(0, 9600))}, map[string]int{"result": 6}},
		{"a file of a rate that nobody has", "audio/wav", 1e9, [][]byte{waveFile(1000000, 1, ramp(0, 10))}, map[string]int{"UNSUPPORTED": 1}},
		{"a picture among files", "", 1e9, [][]byte{file(0), jpeg(100), file(0)}, map[string]int{"result": 6, "UNSUPPORTED": 1}},
		{"a model that takes no sound", raw + ";model=faces", 1e9, [][]byte{good(0), good(0)}, map[string]int{"UNSUPPORTED": 2}},
		{"models of which one takes no sound", raw + ";model=faces,speech", 1e9, [][]byte{good(0), good(0)},
			map[string]int{"UNSUPPORTED": 2, "result": 6}},
		{"a piece of a message that is none", raw, 1e9, [][]byte{chunk(1, 5, 2, nil), good(0)}, map[string]int{"DECODER": 1, "result": 3}},
		{"a message in pieces", raw, 1e9, [][]byte{chunk(1, 0, 2, good(0)), chunk(1, 1, 2, good(1600))}, map[string]int{"result": 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				catalog := speech()
				catalog.Models = append(catalog.Models, faces().Models...)
				catalog.Inputs = append(catalog.Inputs, faces().Inputs...)
				v := newDictation(t, c.protocol, catalog, c.bitrate)
				for _, m := range c.messages {
					v.messages <- m
					// Until it has been heard.
					<-time.After(max(200*time.Millisecond, time.Duration(len(m))*time.Second/32000))
				}
				_, ends := v.settled(7)
				v.stop()
				if !maps.Equal(ends, c.want) {
					t.Errorf("units ended as %v, want %v", ends, c.want)
				}
				checkBook(t, v.book)
			})
		})
	}
}

// After a message that is not to be had nobody knows how much is missing.
func TestSoundAfterABadMessageDoesNotFollowOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDictation(t, "audio/x-raw;format=S16LE;rate=16000", speech(), 1e9)
		for _, m := range [][]byte{ramp(0, 512), {1}, ramp(512, 512)} {
			v.messages <- m
			<-time.After(100 * time.Millisecond)
		}
		windows, _ := v.settled(7)
		v.stop()
		if len(windows) != 2 || windows[1].FirstSample == 512 || slices.Max(windows[1].context) != 0 {
			t.Errorf("%d windows, the second from sample %d", len(windows), windows[1].FirstSample)
		}
	})
}

func TestSoundThatWaitsTooLongIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDictation(t, "audio/x-raw;format=S16LE;rate=16000", speech(), 1e9)
		release := make(chan struct{})
		v.decoder.listen = func(r decoder.SoundRequest, dst []int16) ([]int16, error) {
			<-release
			return mean(r, dst)
		}
		for n := range 100 {
			v.messages <- ramp(n*512, 512)
			<-time.After(32 * time.Millisecond)
		}
		close(release)
		<-time.After(time.Second)
		for n := range 10 {
			v.messages <- ramp(n*512, 512)
			<-time.After(32 * time.Millisecond)
		}
		_, ends := v.settled(7)
		v.stop()
		// One was in the decoder, and 64 waited, of which those of the last eighth of a second were worth decoding.
		if ends["OVERLOADED"] < 90 || ends["result"] < 12 || ends["OVERLOADED"]+ends["EXPIRED"]+ends["result"] != 110 {
			t.Errorf("of 110 messages: %v", ends)
		}
		checkBook(t, v.book)
	})
}

func TestSoundThatWaitsAtTheEndIsDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newDictation(t, "audio/x-raw;format=S16LE;rate=16000", speech(), 1e9)
		v.messages <- ramp(0, 160000)
		<-time.After(time.Second)
		synctest.Wait()
		v.stop()
		_, ends := v.settled(7)
		if ends["result"] < 31 || ends["DRAINING"] != 1 {
			t.Errorf("of ten seconds, broken off after one: %v", ends)
		}
		checkBook(t, v.book)
	})
}

func TestSoundOfAChannelGetsItsOutcomesThere(t *testing.T) {
	r := newRig(t, nil)
	r.catalog = speech()
	r.catalog.Models[0].Deadline = 5 * time.Second
	var raw, plain *webrtc.DataChannel
	var heardRaw, heardPlain <-chan message
	c := r.connect(func(c *client) {
		raw, heardRaw = c.channel("raw", "audio/x-raw;format=S16LE;rate=16000;channels=1")
		plain, heardPlain = c.channel("plain", "")
	})
	opened(t, raw)
	opened(t, plain)
	send(t, raw, ramp(0, 1024))
	send(t, plain, waveFile(8000, 1, ramp(0, 512)))
	for i := range 4 {
		from, name := heardRaw, "raw"
		if i >= 2 {
			from, name = heardPlain, "plain"
		}
		if o := outcome(t, from).Outcome; o.Result == nil || o.Stream != name || o.Sequence != uint32(i%2+1) || o.Model != "speech" || o.RtpTimestamp != nil {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	c.session.Close("test")
	for name, counts := range checkCounts(t, c.session) {
		if counts.Received != 2 {
			t.Errorf("%s: %+v", name, counts)
		}
	}
}
