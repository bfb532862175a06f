//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/client"
	"github.com/sluice-dev/sluice/deploy/e2e/echo"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// callInterval is the time between two frames of a caller.
const callInterval = 50 * time.Millisecond

// caller is a session that sends numbered tensors, its own number in each, and keeps book of what becomes of them.
type caller struct {
	*client.Client
	number int
	stop   context.CancelFunc
	paced  chan error

	mu      sync.Mutex
	sent    []time.Time // by number, from 0
	ends    map[int]ending
	skipped int
	summary []streamCounts
	wrong   []string
}

// ending is what became of a frame.
type ending struct {
	at   time.Time
	kind string // result, or the drop's reason or the error's code
}

const result = "result"

// call opens a session at an edge that sends until hang up, and waits for its first result.
func call(t *testing.T, edge string, number int) *caller {
	t.Helper()
	c := &caller{number: number, paced: make(chan error, 1), ends: map[int]ending{}}
	var err error
	c.Client, err = client.New(client.Options{
		Edge: edge, Models: []string{echo.Model}, Label: "numbers", Protocol: fmt.Sprintf("application/x-tensor;dtype=FP32;shape=%d", echo.Values),
		Messages: true, OnMessage: c.hear, HTTP: &http.Client{Timeout: 20 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	c.stop = stop
	t.Cleanup(func() { stop(); c.Close() })
	connecting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, step := range []func() error{func() error { return c.Post(connecting) }, c.Accept, func() error { return c.Connected(connecting) }} {
		if err := step(); err != nil {
			t.Fatalf("caller %d: %v", number, err)
		}
	}
	go func() { c.paced <- c.pace(ctx) }()
	c.await(t, 20*time.Second, time.Time{})
	return c
}

// pace sends until ctx ends or the session does.
func (c *caller) pace(ctx context.Context) error {
	tick := time.NewTicker(callInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Failed():
			return fmt.Errorf("caller %d: the session ended after %d frames", c.number, n)
		case <-tick.C:
		}
		var values []byte
		for _, v := range []int{c.number, n} {
			values = binary.LittleEndian.AppendUint32(values, math.Float32bits(float32(v)))
		}
		c.mu.Lock()
		c.sent = append(c.sent, time.Now())
		c.mu.Unlock()
		if err := c.Channel.Send(values); err != nil {
			return fmt.Errorf("caller %d, frame %d: %w", c.number, n, err)
		}
	}
}

// hear keeps book of one message of the edge.
func (c *caller) hear(text []byte) {
	now := time.Now()
	var m struct {
		Outcome *struct {
			Sequence int
			Result   *struct{ Tensors []struct{ Values []float64 } }
			Drop     *struct{ Reason string }
			Error    *struct{ Code string }
		}
		Skipped int
		Summary *struct{ Streams []streamCounts }
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := json.Unmarshal(text, &m); err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("%v in %s", err, text))
		return
	}
	c.skipped += m.Skipped
	if m.Summary != nil {
		c.summary = m.Summary.Streams
	}
	if m.Outcome == nil {
		return
	}
	n, end := m.Outcome.Sequence-1, ending{at: now}
	switch o := m.Outcome; {
	case o.Drop != nil:
		end.kind = o.Drop.Reason
	case o.Error != nil:
		end.kind = o.Error.Code
	case o.Result != nil:
		end.kind = result
		if len(o.Result.Tensors) != 1 || len(o.Result.Tensors[0].Values) != 2 || o.Result.Tensors[0].Values[0] != float64(c.number) || o.Result.Tensors[0].Values[1] != float64(n) {
			c.wrong = append(c.wrong, fmt.Sprintf("frame %d got the result of another: %s", n, text))
		}
	}
	if before, twice := c.ends[n]; twice || n < 0 || n >= len(c.sent) || end.kind == "" {
		c.wrong = append(c.wrong, fmt.Sprintf("frame %d of %d, which has ended as %q before: %s", n, len(c.sent), before.kind, text))
	}
	c.ends[n] = end
}

// answered gives when the first result of a frame sent after a moment came, zero if none has.
func (c *caller) answered(moment time.Time) (first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.sent) - 1; n >= 0 && c.sent[n].After(moment); n-- {
		if e := c.ends[n]; e.kind == result && (first.IsZero() || e.at.Before(first)) {
			first = e.at
		}
	}
	return first
}

// await waits until a frame sent after a moment has a result, and tells how long after the moment it came.
func (c *caller) await(t *testing.T, limit time.Duration, moment time.Time) time.Duration {
	t.Helper()
	var at time.Time
	stack.Eventually(t, limit, fmt.Sprintf("caller %d has a result", c.number), func() error {
		if at = c.answered(moment); at.IsZero() {
			return fmt.Errorf("none of a frame sent after %s", moment.Format(time.StampMilli))
		}
		return nil
	})
	return at.Sub(moment)
}

// account is what became of all frames of callers.
type account struct {
	kinds map[string]int
	// late are the outcomes' times beyond the deadline, by the caller's clock, from the frame's sending on; negative for those in time.
	late []time.Duration
}

// hangUp ends the session and checks the invariants 1 and 2 of its frames: the counts of the edge's summary add up and are those that the caller has heard, no frame ended
// twice, and every result is that of its frame.
func (c *caller) hangUp(t *testing.T, deadline time.Duration, to *account) {
	t.Helper()
	c.stop()
	if err := <-c.paced; err != nil {
		t.Error(err)
		return
	}
	stack.Eventually(t, 20*time.Second, fmt.Sprintf("the last frame of caller %d ends", c.number), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, ended := c.ends[len(c.sent)-1]; !ended {
			return fmt.Errorf("%d of %d have", len(c.ends), len(c.sent))
		}
		return nil
	})
	if err := c.Bye(); err != nil {
		t.Fatalf("caller %d: %v", c.number, err)
	}
	stack.Eventually(t, 20*time.Second, fmt.Sprintf("caller %d hears the summary", c.number), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.summary == nil {
			return fmt.Errorf("%d outcomes", len(c.ends))
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	outcomes := 0
	for _, s := range c.summary {
		outcomes += checkCounts(t, s)
		if s.Received != len(c.sent) {
			t.Errorf("caller %d sent %d frames, the edge received %d", c.number, len(c.sent), s.Received)
		}
	}
	if outcomes != len(c.ends)+c.skipped || outcomes == 0 {
		t.Errorf("caller %d heard of %d outcomes and that %d were skipped, the edge counts %d", c.number, len(c.ends), c.skipped, outcomes)
	}
	for _, text := range c.wrong {
		t.Errorf("caller %d: %s", c.number, text)
	}
	if to.kinds == nil {
		to.kinds = map[string]int{}
	}
	for n, e := range c.ends {
		to.kinds[e.kind]++
		to.late = append(to.late, e.at.Sub(c.sent[n])-deadline)
	}
}
