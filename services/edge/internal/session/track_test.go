package session

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// bench is a track runner with everything around it replaced, in the time of a synctest bubble.
type bench struct {
	packets  chan peer.Packet
	outcomes chan media.Outcome
	live     fixedWants
	decoder  *fakeDecoder
	uplink   *fakeUplink
	book     *book
	runner   *trackRunner
	patience time.Duration

	seq  uint16
	ts   uint32
	stop func()

	mu   sync.Mutex
	keys []time.Time // when a key frame was asked for
}

type fixedWants struct {
	w       *wants
	demands []media.Demand
}

func (f *fixedWants) current() *wants       { return f.w }
func (f *fixedWants) demand(d media.Demand) { f.demands = append(f.demands, d) }

func (b *bench) Packets() <-chan peer.Packet { return b.packets }

func (b *bench) Patience() time.Duration { return b.patience }

func (b *bench) RequestKeyFrame() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys = append(b.keys, time.Now())
}

// bookOnly is what a bench's uplink tells.
type bookOnly struct{ book *book }

func (h bookOnly) Opened([]media.Model, []media.Input) {}
func (h bookOnly) Outcome(o media.Outcome)             { h.book.finalise(o) }
func (h bookOnly) Sent(stream string, s uint32, models []string, router string) {
	h.book.sent(stream, s, models, router)
}
func (h bookOnly) Demand(media.Demand) {}
func (h bookOnly) Lost(error)          {}

var _ uplink.Handler = bookOnly{}

// newBench starts a runner on a stream named camera. It must be closed inside the bubble.
func newBench(t *testing.T, catalog uplink.Catalog, bitrate int64) *bench {
	t.Helper()
	b := &bench{
		packets: make(chan peer.Packet, 1024), outcomes: make(chan media.Outcome, 4096),
		live: fixedWants{w: newWants(catalog.Models, catalog.Inputs)}, decoder: &fakeDecoder{},
		patience: 100 * time.Millisecond,
	}
	b.book = newBook("s", func(o media.Outcome) { b.outcomes <- o })
	b.uplink = &fakeUplink{handler: bookOnly{b.book}}
	st, err := newStream("camera", content{kind: media.KindPicture}, nil, &b.live, b.book)
	if err != nil {
		t.Fatal(err)
	}
	c := newConverter(st, 1, b.decoder, b.uplink, 1<<20, slog.New(slog.DiscardHandler))
	b.runner = newTrackRunner(b, st, c, newBudget(bitrate, 1000), nil, newReportBoard(), 1000)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.runner.run(ctx) })
	running.Go(func() { b.book.run(ctx) })
	b.stop = func() { cancel(); running.Wait(); b.book.close() }
	return b
}

// frame sends a frame in one packet.
func (b *bench) frame(key bool, payload int) {
	b.seq++
	b.ts += 3000
	body := make([]byte, 1+payload)
	body[0], body[1] = 0x10, 0x01
	if key {
		copy(body[1:], []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0})
	}
	b.packets <- peer.Packet{
		RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: b.seq, Timestamp: b.ts, SSRC: 5, Marker: true}, Payload: body},
		Codec: media.VP8, Arrival: time.Now(),
	}
}

// next gives the next outcome's words: a reason, a code or "result".
func (b *bench) next(t *testing.T) (sequence uint32, word string) {
	t.Helper()
	synctest.Wait()
	select {
	case o := <-b.outcomes:
		switch {
		case o.Drop != media.NotDropped:
			return o.Sequence, o.Drop.String()
		case o.Error != media.NoError:
			return o.Sequence, o.Error.String()
		default:
			return o.Sequence, "result"
		}
	default:
		return 0, "nothing"
	}
}

func (b *bench) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	for _, w := range want {
		if n, got := b.next(t); got != w {
			t.Errorf("%s: unit %d is %s, want %s", what, n, got, w)
		}
	}
}

func TestRunnerWaitsForAKeyFrameAndAsksForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		began := time.Now()
		for range 20 {
			b.frame(false, 20)
			synctest.Wait()
			<-time.After(100 * time.Millisecond)
		}
		for range 20 {
			b.expect(t, "before a key frame", "DAMAGED")
		}
		b.mu.Lock()
		asked := len(b.keys)
		if asked < 2 || asked > 4 || b.keys[0].Sub(began) > 100*time.Millisecond {
			t.Errorf("key frames asked for at %v", b.keys)
		}
		b.mu.Unlock()
		b.frame(true, 20)
		b.frame(false, 20)
		b.expect(t, "from the key frame on", "result", "result")
		b.stop()
	})
}

func TestRunnerCatchesUpWithTheNextKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		slow := true
		b.decoder.decode = func(q decoder.Request) ([]decoder.Picture, error) {
			if slow {
				slow = false
				<-time.After(700 * time.Millisecond)
			}
			return []decoder.Picture{{Tag: q.Tag, Payload: make([]byte, 1), Release: func() {}}}, nil
		}
		b.frame(true, 20)
		for range 3 {
			b.frame(false, 20)
		}
		<-time.After(time.Second)
		b.expect(t, "the slow one", "result")
		b.expect(t, "far behind", "OVERLOADED", "OVERLOADED", "OVERLOADED")
		b.frame(true, 20)
		b.expect(t, "the key frame", "result")
		b.stop()
	})
}

func TestRunnerDecodesWhatIsTooLateWithoutConvertingIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog := faces()
		catalog.Models[0].Deadline = 100 * time.Millisecond
		b := newBench(t, catalog, 1e9)
		b.frame(true, 20)
		b.expect(t, "in time", "result")
		b.packets <- peer.Packet{
			RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 2, Timestamp: 6000, SSRC: 5, Marker: true}, Payload: []byte{0x10, 1, 0, 0}},
			Codec: media.VP8, Arrival: time.Now().Add(-120 * time.Millisecond),
		}
		b.expect(t, "late", "EXPIRED")
		b.decoder.mu.Lock()
		if n := len(b.decoder.units); n != 2 || len(b.decoder.units[1].Targets) != 0 {
			t.Errorf("%d units decoded", n)
		}
		b.decoder.mu.Unlock()
		b.stop()
	})
}

func TestRunnerKeepsToTheBitrate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 8_000) // 3500 bytes at once, 1000 a second
		b.frame(true, 900)
		b.frame(false, 900)
		b.frame(false, 900)
		b.frame(false, 20)
		b.expect(t, "beyond the limit", "result", "result", "RATE_LIMITED", "DAMAGED")
		b.frame(true, 1200)
		b.expect(t, "larger than any unit may be", "TOO_LARGE")
		b.stop()
	})
}

func TestRunnerWithoutModelsCountsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, uplink.Catalog{}, 1e9)
		b.frame(true, 20)
		b.frame(false, 20)
		b.expect(t, "without a model", "nothing")
		b.mu.Lock()
		if len(b.keys) != 0 || len(b.decoder.units) != 0 {
			t.Errorf("%d key frames asked for, %d units decoded", len(b.keys), len(b.decoder.units))
		}
		b.mu.Unlock()
		catalog := faces()
		b.live.w = newWants(catalog.Models, catalog.Inputs)
		b.frame(false, 20)
		b.expect(t, "a model comes", "DAMAGED")
		b.frame(true, 20)
		b.expect(t, "with a key frame", "result")
		c := b.book.counts()[0]
		if c.Received != 4 || c.NotDue != 2 || c.Accepted != 2 {
			t.Errorf("counts: %+v", c)
		}
		b.stop()
	})
}

func TestPicturesThatTheDecoderReorders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		released := 0
		picture := func(tag uint64) decoder.Picture {
			return decoder.Picture{Tag: tag, Payload: make([]byte, 1), Release: func() { released++ }}
		}
		b.decoder.decode = func(q decoder.Request) ([]decoder.Picture, error) {
			switch q.Tag {
			case 2:
				return nil, nil // held back
			case 3:
				return []decoder.Picture{picture(3), picture(2), picture(99)}, nil
			case 4:
				return nil, &decoder.Error{Code: media.DecoderError}
			default:
				return []decoder.Picture{picture(q.Tag)}, nil
			}
		}
		b.frame(true, 20)
		for range 3 {
			b.frame(false, 20)
		}
		for _, want := range []struct {
			sequence uint32
			word     string
		}{{1, "result"}, {3, "result"}, {2, "SUPERSEDED"}, {4, "DECODER"}} {
			if n, got := b.next(t); n != want.sequence || got != want.word {
				t.Errorf("unit %d is %s, want unit %d to be %s", n, got, want.sequence, want.word)
			}
		}
		if released != 4 {
			t.Errorf("%d payloads released", released)
		}
		b.stop()
	})
}

func TestRunnerFinishesTheOldCodecBeforeTheNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		b.frame(true, 20)
		b.seq++ // lost, so that the next one waits
		b.frame(false, 20)
		b.seq++
		b.packets <- peer.Packet{ // the beginning of a picture whose end never comes
			RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: b.seq, Timestamp: b.ts + 3000, SSRC: 5}, Payload: []byte{0x10, 1, 0, 0}},
			Codec: media.VP8, Arrival: time.Now(),
		}
		b.packets <- peer.Packet{
			RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 102, SequenceNumber: b.seq + 1, Timestamp: b.ts + 6000, SSRC: 5, Marker: true}, Payload: []byte{0x65, 0x88, 0x84}},
			Codec: media.H264, Arrival: time.Now(),
		}
		<-time.After(b.patience)
		b.expect(t, "across the switch", "result", "DAMAGED", "DAMAGED", "DAMAGED")
		if n := b.book.counts()[0].Received; n != 4 {
			t.Errorf("%d units received, want two whole ones and one half of the old codec, and one of the new", n)
		}
		b.stop()
	})
}

// TestRunnerFollowsATrackThroughEveryCodec changes the payload type with every picture. The decoder gets each as its codec.
func TestRunnerFollowsATrackThroughEveryCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		for i, c := range []struct {
			codec media.Codec
			key   []byte
		}{
			{media.VP8, []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0}},
			{media.VP9, []byte{0x0c, 0x82, 0x49, 0x83, 0x42, 0}},
			{media.H264, []byte{0x18, 0, 2, 0x67, 1, 0, 2, 0x68, 1, 0, 2, 0x65, 0x88}},
			{media.AV1, []byte{0x28, 2, 0x08, 0, 0x30, 0x10}},
			{media.VP9, []byte{0x0c, 0x82, 0x49, 0x83, 0x42, 0}},
		} {
			var got media.Codec
			b.decoder.decode = func(r decoder.Request) ([]decoder.Picture, error) {
				got = r.Unit.Codec
				return nil, &decoder.Error{Code: media.DecoderError}
			}
			b.packets <- peer.Packet{
				RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96 + uint8(c.codec), SequenceNumber: uint16(i), Timestamp: uint32(i * 3000), SSRC: 5, Marker: true}, Payload: c.key},
				Codec: c.codec, Arrival: time.Now(),
			}
			b.expect(t, c.codec.String(), "DECODER")
			if got != c.codec {
				t.Errorf("the decoder got %v, want %v", got, c.codec)
			}
		}
		b.stop()
	})
}

func TestRunnerNamesTheEndOfTheSessionAsTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		b.decoder.decode = func(decoder.Request) ([]decoder.Picture, error) {
			// What decoder.Decode says when its context ends while another stream is being decoded.
			return nil, &decoder.Error{Drop: media.Overloaded, NeedKey: true, Err: fmt.Errorf("waiting for the decoder: %w", context.Canceled)}
		}
		b.frame(true, 20)
		b.expect(t, "given up", "DRAINING")
		b.stop()
	})
}

func TestRunnerConvertsNothingByWhatTheCatalogSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		catalog := faces()
		b.live.w = newWants(catalog.Models, catalog.Inputs)
		b.live.w.hearsay = true
		b.frame(true, 20)
		b.expect(t, "though the uplink is ready", "NO_ROUTER")
		b.live.w = newWants(catalog.Models, catalog.Inputs)
		b.frame(false, 20)
		b.expect(t, "once the router has told", "result")
		b.stop()
	})
}
