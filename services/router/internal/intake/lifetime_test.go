package intake

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// TestSlowSessionDelaysNobody has one session that never receives, until flow control blocks the router's Send, beside one that does.
func TestSlowSessionDelaysNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults()
		cfg.Outbox, cfg.Window = 16, 1000
		b := newBed(t, cfg, modelConfig("faces", small, &model{after: 5 * ms, pad: 20_000}))
		defer b.stop()
		deaf, _ := b.open("deaf")
		good, _ := b.open("good")
		for i := range uint32(100) {
			deaf.frame(frame("camera", i+1, 1, 200*ms, "faces"))
			good.frame(frame("camera", i+1, 1, 200*ms, "faces"))
			sent := time.Now()
			if o := good.outcome(); end(o) != "result" || o.GetSequence() != i+1 {
				t.Fatalf("frame %d of the good session: %v", i+1, end(o))
			}
			if took := time.Since(sent); took > 20*ms {
				t.Errorf("frame %d of the good session took %v", i+1, took)
			}
			advance(10 * ms)
		}
		synctest.Wait()
		var box *outbox
		b.service.mu.Lock()
		for c := range b.service.calls {
			if c.session == "deaf" {
				box = c.out
			}
		}
		b.service.mu.Unlock()
		box.mu.Lock()
		if box.waiting != 16 || len(box.outcomes) != 16 {
			t.Errorf("%d outcomes wait for the deaf session in a ring of %d, want 16: is Send not blocked?", box.waiting, len(box.outcomes))
		}
		newest := box.outcomes[(box.first+15)%16].Sequence
		box.mu.Unlock()
		if newest != 100 {
			t.Errorf("the newest outcome that waits is %d, want 100: the oldest are lost, never the newest", newest)
		}
		// The session hears again: what it gets is in order, and ends with the newest.
		last := uint32(0)
		for last < 100 {
			o := deaf.outcome()
			if o.GetSequence() <= last {
				t.Fatalf("outcome %d after %d", o.GetSequence(), last)
			}
			last = o.GetSequence()
		}
	})
}

func TestHalfCloseFinishesWhatIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, defaults(), modelConfig("faces", small, &model{after: 80 * ms}))
		defer b.stop()
		c, _ := b.open("s")
		for i := range 3 {
			c.frame(frame(fmt.Sprint("stream", i), 1, 1, 250*ms, "faces"))
		}
		if err := c.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if outcomes := eof(t, c); len(outcomes) != 3 {
			t.Errorf("%d outcomes after the half-close, want 3", len(outcomes))
		}
		synctest.Wait()
		if s := b.service.Sessions(); len(s) != 0 {
			t.Errorf("sessions %+v after the end", s)
		}
	})
}

// TestHalfCloseOfADeafEdge ends although the edge never takes what is left.
func TestHalfCloseOfADeafEdge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults()
		cfg.Window = 100
		b := newBed(t, cfg, modelConfig("faces", small, &model{pad: 60_000}))
		defer b.stop()
		c, _ := b.open("s")
		for i := range uint32(20) {
			c.frame(frame("camera", i+1, 1, 200*ms, "faces"))
			synctest.Wait()
		}
		_ = c.stream.CloseSend()
		advance(flushGrace + settleGrace)
		if s := b.service.Sessions(); len(s) != 0 {
			t.Errorf("sessions %+v long after the half-close", s)
		}
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, defaults(), modelConfig("faces", small, &model{after: 50 * ms}))
		defer b.stop()
		c, _ := b.open("s")
		c.frame(frame("camera", 1, 1, 200*ms, "faces"))
		synctest.Wait()
		b.service.Drain(8 * time.Second)
		b.service.Drain(8 * time.Second) // twice is harmless
		if m := c.recv(); m.GetDrain().GetReconnectWithin() != 8 {
			t.Fatalf("received %v, want drain within 8 s before anything else", m)
		}
		if s := b.service.Sessions(); len(s) != 1 || !s[0].Draining {
			t.Errorf("sessions %+v, want one that drains", s)
		}
		late := b.dial()
		late.send(openRequest("late"))
		if got := failure(late); got != codes.Unavailable {
			t.Errorf("a new call ended with %v, want UNAVAILABLE", got)
		}
		c.frame(frame("camera", 2, 1, 200*ms, "faces")) // on its way when the edge heard of the drain
		_ = c.stream.CloseSend()
		outcomes := eof(t, c)
		if len(outcomes) != 2 || end(outcomes[0]) != "result" || end(outcomes[1]) != "result" {
			t.Errorf("outcomes %v, want two results", outcomes)
		}
	})
}

// TestEdgeVanishes cancels a call: what waits costs no model time, what is in flight is settled, nothing is left.
func TestEdgeVanishes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		b := newBed(t, defaults(), modelConfig("faces", small, &model{after: 50 * ms, runs: func([]backend.Frame) { batches++ }}))
		c, _ := b.open("s")
		c.frame(frame("camera", 1, 1, 200*ms, "faces"))
		synctest.Wait()
		c.frame(frame("camera", 2, 1, 200*ms, "faces"))
		synctest.Wait()
		c.cancel()
		advance(time.Second)
		if totals := b.dispatcher.Totals()[0]; totals.Accepted != 2 || totals.Results != 1 || totals.Drops[media.Expired] != 1 || totals.InFlight != 0 {
			t.Errorf("totals %+v, want one result and one EXPIRED", totals)
		}
		if batches != 1 || len(b.service.Sessions()) != 0 {
			t.Errorf("%d batches, sessions %+v; want 1 and none", batches, b.service.Sessions())
		}
		b.stop()
	})
}

// TestHungBackend checks that outcomes leave early enough to be at the edge by the deadline, and that no edge can stretch it.
func TestHungBackend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		b := newBed(t, defaults(), modelConfig("faces", small, &model{hang: hang}))
		c, _ := b.open("s")
		start := time.Now()
		c.frame(frame("camera", 1, 1, 100*ms, "faces"))
		synctest.Wait()
		c.frame(frame("greedy", 1, 1, time.Hour, "faces"))
		for _, want := range []string{"BACKEND_TIMEOUT after 90ms", "EXPIRED after 240ms"} {
			if got := fmt.Sprintf("%s after %v", end(c.outcome()), time.Since(start)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		close(hang)
		b.stop()
	})
}

func TestAnswerBy(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for _, c := range []struct{ remaining, most, want time.Duration }{
		{200 * ms, 250 * ms, 190 * ms},
		{time.Hour, 250 * ms, 240 * ms},
		{30 * ms, 250 * ms, 27 * ms},
		{0, 250 * ms, 0},
		{-50 * ms, 250 * ms, -50 * ms},
	} {
		if got := answerBy(now, c.remaining, c.most).Sub(now); got != c.want {
			t.Errorf("%v left of at most %v: answer in %v, want %v", c.remaining, c.most, got, c.want)
		}
	}
}

// TestSessionsDoNotMix has sessions that use the same stream names and sequences.
func TestSessionsDoNotMix(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sizes := map[int]int{}
		b := newBed(t, defaults(), modelConfig("faces", small, &model{after: 10 * ms, runs: func(fs []backend.Frame) { sizes[len(fs)]++ }}))
		defer b.stop()
		var clients []*client
		for i := range 5 {
			c, _ := b.open(fmt.Sprint("session", i))
			clients = append(clients, c)
		}
		for sequence := range uint32(20) {
			for i, c := range clients {
				f := frame("camera", sequence+1, 1, 200*ms, "faces")
				f.Payload = fmt.Appendf(nil, "%d#%04d", i, sequence+1)
				c.frame(f)
				synctest.Wait() // the first goes alone, at once; the others are all there when it comes back
			}
			for i, c := range clients {
				o := c.outcome()
				if o.GetSession() != fmt.Sprint("session", i) || o.GetResult().GetJson()[0] != fmt.Sprintf("%d#%04d", i, sequence+1) {
					t.Fatalf("session %d received %v", i, o)
				}
			}
		}
		if want := map[int]int{1: 20, 4: 20}; !maps.Equal(sizes, want) {
			t.Errorf("batches by size %v, want %v: the sessions that wait go together", sizes, want)
		}
		for _, s := range b.service.Sessions() {
			if len(s.Streams) != 1 || s.Streams[0].Received != 20 || s.Streams[0].Models[0].Results != 20 || s.Streams[0].Models[0].InFlight != 0 {
				t.Errorf("session %s: %+v", s.ID, s.Streams)
			}
		}
	})
}
