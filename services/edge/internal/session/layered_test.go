package session

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// stage is a layer whose packets a test makes.
type stage struct {
	packets       chan peer.Packet
	ssrc          uint32
	width, height uint16
	seq           uint16
	ts            uint32
	asked         atomic.Int32
	paused        atomic.Bool
	heard         atomic.Pointer[time.Time]
}

func newStage(ssrc uint32, width, height uint16) *stage {
	s := &stage{packets: make(chan peer.Packet, 1024), ssrc: ssrc, width: width, height: height, seq: 65530, ts: 1<<32 - 3000}
	s.hear()
	return s
}

func (s *stage) Packets() <-chan peer.Packet { return s.packets }
func (s *stage) Patience() time.Duration     { return 100 * time.Millisecond }
func (s *stage) RequestKeyFrame()            { s.asked.Add(1) }
func (s *stage) Pause(paused bool)           { s.paused.Store(paused) }
func (s *stage) Heard() time.Time            { return *s.heard.Load() }

func (s *stage) hear() {
	now := time.Now()
	s.heard.Store(&now)
}

// picture makes the three packets of the next picture.
func (s *stage) picture(key bool) []peer.Packet {
	s.ts += 3000
	var made []peer.Packet
	body := sceneBytes(s.width, s.height, 0, s.ts, key)
	for i := range 3 {
		s.seq++
		payload := append([]byte{0}, body[i*len(body)/3:(i+1)*len(body)/3]...)
		if i == 0 {
			payload[0] = 0x10
		}
		made = append(made, peer.Packet{
			RTP:   &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: s.ts, SSRC: s.ssrc, Marker: i == 2}, Payload: payload},
			Codec: media.VP8, ClockRate: 90000,
		})
	}
	return made
}

// arrive delivers packets in an order.
func (s *stage) arrive(packets []peer.Packet, order ...int) {
	s.hear()
	if s.paused.Load() {
		return
	}
	for _, i := range order {
		packets[i].Arrival = time.Now()
		s.packets <- packets[i]
	}
}

// all delivers the next picture of each layer, and lets 33 ms pass.
func all(key bool, stages ...*stage) {
	for _, s := range stages {
		s.arrive(s.picture(key), 0, 1, 2)
	}
	<-time.After(33 * time.Millisecond)
}

// theatre is a layered source with a runner's stand-in, which takes what is handed on.
type theatre struct {
	layered *layered
	stop    func()

	mu    sync.Mutex
	given []peer.Packet
	ended bool
}

func newTheatre(width, height int, stages ...*stage) *theatre {
	catalog := taking(width, height)
	live := &fixedWants{w: newWants(catalog.Models, catalog.Inputs)}
	first := &member{layer: stages[0], ssrc: stages[0].ssrc}
	h := &theatre{layered: newLayered(live, first, Limits{Message: 1 << 20}, slog.New(slog.DiscardHandler))}
	for _, s := range stages[1:] {
		h.layered.add(&member{layer: s, ssrc: s.ssrc})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.layered.run(ctx) })
	running.Go(h.take)
	h.stop = func() { cancel(); running.Wait() }
	return h
}

// take tells sizes as a runner does.
func (h *theatre) take() {
	assembler, _ := depacket.New(media.VP8, 0)
	for p := range h.layered.Packets() {
		h.mu.Lock()
		h.given = append(h.given, p)
		h.mu.Unlock()
		for _, u := range assembler.Push(p.RTP, p.Arrival) {
			if u.Key && u.Whole() {
				h.layered.Shows(&u)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

// sources gives whose packets were handed on, each change once, and the packets of the newest one.
func (h *theatre) sources() (ssrcs []uint32, newest []peer.Packet) {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.given {
		if len(ssrcs) == 0 || p.RTP.SSRC != ssrcs[len(ssrcs)-1] {
			ssrcs, newest = append(ssrcs, p.RTP.SSRC), nil
		}
		newest = append(newest, p)
	}
	return ssrcs, newest
}

func (h *theatre) expect(t *testing.T, what string, want ...uint32) {
	t.Helper()
	got, _ := h.sources()
	if len(got) != len(want) {
		t.Fatalf("%s: packets of %v, want %v", what, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: packets of %v, want %v", what, got, want)
		}
	}
}

func TestASwitchWaitsForAKeyFrameThatIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		low, high := newStage(1, 320, 180), newStage(2, 640, 360)
		h := newTheatre(640, 360, low, high)
		defer h.stop()
		all(true, low)
		high.arrive(high.picture(true), 0, 2) // one of its packets is lost
		for range 10 {
			all(false, low, high)
		}
		h.expect(t, "without a whole key frame", 1)
		if low.asked.Load() != 0 || high.asked.Load() == 0 {
			t.Errorf("%d and %d key frames asked for", low.asked.Load(), high.asked.Load())
		}
		late := high.picture(false)
		key, next := high.picture(true), high.picture(false)
		high.arrive(late, 0)
		high.arrive(key, 2, 0)
		high.arrive(next, 1)
		high.arrive(late, 2, 1)
		h.expect(t, "while it is not", 1)
		high.arrive(key, 1)
		h.expect(t, "once it is", 1, 2)
		high.arrive(next, 0, 2)
		_, given := h.sources()
		want := append(append([]peer.Packet{}, key...), next[1], next[0], next[2])
		for i := range want {
			if i >= len(given) || given[i].RTP != want[i].RTP {
				t.Fatalf("packet %d of %d of the new layer is not the one expected", i, len(given))
			}
		}
		all(false, low, high)
		if !low.paused.Load() || high.paused.Load() {
			t.Errorf("paused: %v and %v", low.paused.Load(), high.paused.Load())
		}
	})
}

func TestALayerThatNeverShowsItsSizeIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		low, odd := newStage(1, 320, 180), newStage(2, 640, 360)
		h := newTheatre(320, 180, low, odd)
		defer h.stop()
		all(true, low)
		for range 5 * 30 {
			all(false, low, odd)
		}
		if n := odd.asked.Load(); n != maxProbes || !odd.paused.Load() {
			t.Errorf("%d key frames asked for; paused: %v", n, odd.paused.Load())
		}
		for range 30 * 30 { // once more, later
			all(false, low, odd)
		}
		if n := odd.asked.Load(); n != 2*maxProbes || !odd.paused.Load() {
			t.Errorf("%d key frames asked for in half a minute; paused: %v", n, odd.paused.Load())
		}
		h.expect(t, "all the time", 1)
	})
}

func TestALayerThatEndsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		low, high := newStage(1, 320, 180), newStage(2, 640, 360)
		h := newTheatre(320, 180, low, high)
		defer h.stop()
		all(true, low, high)
		all(false, low, high)
		close(low.packets)
		all(false, high)
		if high.asked.Load() != 1 || high.paused.Load() {
			t.Errorf("%d key frames asked for; paused: %v", high.asked.Load(), high.paused.Load())
		}
		all(true, high)
		h.expect(t, "after the first one ended", 1, 2)
		h.layered.RequestKeyFrame()
		if high.asked.Load() != 2 {
			t.Error("a key frame is not asked for from the layer in use")
		}
		close(high.packets)
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.ended {
			t.Error("the source does not end with its last layer")
		}
		if late := newStage(3, 320, 180); h.layered.add(&member{layer: late, ssrc: late.ssrc}) {
			t.Error("a source that has ended takes another layer, of which nobody would hear")
		}
	})
}

// A layer that comes when the last one before it has just ended is either taken and heard or turned down, so that it can be a stream of its own.
func TestALayerThatComesAsTheLastOneEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newStage(1, 320, 180), newStage(2, 320, 180)
		h := newTheatre(320, 180, old)
		defer h.stop()
		all(true, old)
		synctest.Wait()
		close(old.packets)
		taken := h.layered.add(&member{layer: next, ssrc: next.ssrc})
		for range 5 {
			all(true, next)
		}
		synctest.Wait()
		h.mu.Lock()
		ended := h.ended
		h.mu.Unlock()
		if taken == ended {
			t.Fatalf("the layer was taken: %v; the source has ended: %v", taken, ended)
		}
		if taken {
			h.expect(t, "after the first one ended", 1, 2)
		}
	})
}

func TestASourceThatSwitchesRunsOnInMediaTime(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	for name, reported := range map[string]bool{"by arrival": false, "by the sender's clock": true} {
		board := newReportBoard()
		m := newMediaTime(board)
		delay := 80 * time.Millisecond // of the second layer, against the first
		at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
		m.at(media.RTP{SSRC: 1, Timestamp: 1000}, at(0))
		if reported {
			board.post(media.SenderReport{SSRC: 1, RTPTimestamp: 1000, NTP: ntpTime(start)}, at(0))
			board.post(media.SenderReport{SSRC: 2, RTPTimestamp: 4_000_000_000, NTP: ntpTime(start)}, at(0))
		}
		before := m.at(media.RTP{SSRC: 1, Timestamp: 1000 + 90*900}, at(900))
		after := m.at(media.RTP{SSRC: 2, Timestamp: 4_000_000_000 + 90*933}, at(933).Add(delay))
		last := m.at(media.RTP{SSRC: 2, Timestamp: 4_000_000_000 + 90*966}, at(966).Add(delay))
		want := 33 * time.Millisecond
		if !reported {
			want += delay
		}
		if got := after.media - before.media; (got - want).Abs() > time.Millisecond {
			t.Errorf("%s: media time goes on by %v, want %v", name, got, want)
		}
		if got := last.media - after.media; got != 33*time.Millisecond {
			t.Errorf("%s: then it goes on by %v", name, got)
		}
	}
}
