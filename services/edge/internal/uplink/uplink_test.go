package uplink

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func TestFrameThereOutcomeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		frames := make(chan *sluicev1.Frame, 1)
		n.start("a", func(c *conversation) error {
			if c.open.GetSession() != "s1" || len(c.open.GetModels()) != 1 || c.open.GetModels()[0] != "faces" {
				t.Errorf("Open = %v", c.open)
			}
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			f, err := c.frame()
			if err != nil {
				return err
			}
			frames <- f
			if err := c.answer(f); err != nil {
				return err
			}
			return c.wait()
		})
		s := openSession(t, n.pool("a"), "faces")
		s.untilOpened()
		if !s.Ready() {
			t.Error("not ready after Opened")
		}
		pass(time.Second)
		s.offer(7, small.Bytes(), s.input("faces"), "faces")
		f := <-frames
		if f.GetStream() != "camera" || f.GetSequence() != 7 || f.GetInputId() != faces.InputID || len(f.GetPayload()) != small.Bytes() ||
			f.GetDue()[0].GetModel() != "faces" || f.GetDue()[0].GetRemaining() != 0.25 {
			t.Errorf("the router got %v", f)
		}
		synctest.Wait()
		if s.answers[unit{"camera", 7, "faces"}] != 1 || s.sent[unit{"camera", 7, "faces"}].IsZero() {
			t.Errorf("answers %v, sent %v", s.answers, s.sent)
		}
	})
}

func TestNoRouterIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openSession(t, newNetwork(t).pool("nobody"))
		before := time.Now()
		s.offer(1, 1, 1, "faces")
		if s.Ready() || s.drop(1, "faces") != media.NoRouter || time.Since(before) != 0 {
			t.Errorf("ready %v, drop %q after %s, want NO_ROUTER at once", s.Ready(), s.drop(1, "faces"), time.Since(before))
		}
	})
}

func TestAfterCloseFramesAreDraining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.start("a", answerAll)
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		s.Close()
		s.offer(1, 1, s.input("faces"), "faces")
		if s.Ready() || s.drop(1, "faces") != media.Draining {
			t.Errorf("ready %v, drop %q, want DRAINING", s.Ready(), s.drop(1, "faces"))
		}
	})
}

func TestNewestWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		goOn := make(chan struct{})
		n.start("a", func(c *conversation) error {
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			for {
				f, err := c.frame()
				if f == nil || err != nil {
					return err
				}
				<-goOn
				if err := c.answer(f); err != nil {
					return err
				}
			}
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		input := s.input("faces")
		s.offer(1, 1, input, "faces")
		synctest.Wait() // 1 takes the only credit
		for sequence := uint32(2); sequence <= 10; sequence++ {
			s.offer(sequence, 1, input, "faces")
		}
		s.offer(4, 1, input, "poses", "hands") // models that nobody announced
		close(goOn)
		synctest.Wait()
		for sequence := uint32(2); sequence <= 9; sequence++ {
			if got := s.drop(sequence, "faces"); got != media.Superseded {
				t.Errorf("frame %d: %q, want SUPERSEDED", sequence, got)
			}
		}
		if s.answers[unit{"camera", 1, "faces"}] != 1 || s.answers[unit{"camera", 10, "faces"}] != 1 {
			t.Errorf("answers %v, want 1 and 10", s.answers)
		}
		if s.drop(4, "poses") != media.Expired || s.drop(4, "hands") != media.Expired {
			t.Errorf("frame for models that are not served: %q, want EXPIRED", s.drop(4, "poses"))
		}
	})
}

// A router that stops reading blocks Send. Outcomes still arrive, waiting frames still expire in time, and Offer does not block.
func TestBlockedSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.start("a", func(c *conversation) error {
			model := faces
			if err := c.welcome(100, []media.Model{model}, []media.Input{{ID: model.InputID, Form: media.PictureForm(large)}}); err != nil {
				return err
			}
			for i := uint32(1); ; i++ { // reads nothing, says much
				select {
				case <-c.Context().Done():
					return nil
				case <-time.After(100 * time.Millisecond):
				}
				if err := c.outcome(media.Outcome{Stream: "camera", Sequence: 1, Model: "faces", Error: media.BackendTimeout}); err != nil {
					return err
				}
			}
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		input, start := s.input("faces"), time.Now()
		const frames = 12
		for sequence := uint32(1); sequence <= frames; sequence++ {
			s.offer(sequence, large.Bytes(), input, "faces")
			synctest.Wait()
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("offering took %s, want no time", took)
		}
		if len(s.sent) == 0 || len(s.sent) > frames/2 {
			t.Fatalf("%d frames of %d were sent; Send did not block as the test needs", len(s.sent), frames)
		}
		pass(500 * time.Millisecond)
		synctest.Wait()
		at := unit{"camera", frames, "faces"}
		if s.drops[at] != media.Expired || s.dropped[at].Sub(start) != 250*time.Millisecond {
			t.Errorf("the waiting frame: %q after %s, want EXPIRED at its deadline of 250ms", s.drops[at], s.dropped[at].Sub(start))
		}
		if got := s.answers[unit{"camera", 1, "faces"}]; got < 4 {
			t.Errorf("%d outcomes arrived while Send was blocked, want 4 or more", got)
		}
		if s.losses != 0 {
			t.Errorf("the call was lost %d times, though the router was heard", s.losses)
		}
	})
}

// Each model's deadline counts, also for a frame that models share.
func TestSharedFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		got := make(chan *sluicev1.Frame, 2)
		n.start("a", func(c *conversation) error {
			poses := faces
			poses.Name = "poses"
			if err := c.welcome(1, []media.Model{faces, poses}, []media.Input{{ID: faces.InputID, Form: media.PictureForm(small)}}); err != nil {
				return err
			}
			for range 2 {
				f, err := c.frame()
				if err != nil {
					return err
				}
				got <- f
				pass(200 * time.Millisecond)
				if err := c.answer(f); err != nil {
					return err
				}
			}
			return c.wait()
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		input := s.input("poses")
		s.offer(1, 1, input, "faces", "poses")
		synctest.Wait()
		now := time.Now()
		s.offerFrame(media.Frame{Stream: "camera", Sequence: 2, InputID: input, Placement: media.Place(small, 4, 2), Due: []media.Due{
			{Model: "faces", Deadline: now.Add(100 * time.Millisecond)}, {Model: "poses", Deadline: now.Add(300 * time.Millisecond)},
		}}, 1)
		pass(time.Second)
		synctest.Wait()
		if first, second := <-got, <-got; len(first.GetDue()) != 2 || len(second.GetDue()) != 1 || second.GetDue()[0].GetModel() != "poses" {
			t.Errorf("the router got %v and %v", first, second)
		}
		if at := (unit{"camera", 2, "faces"}); s.drops[at] != media.Expired || s.dropped[at].Sub(now) != 100*time.Millisecond {
			t.Errorf("faces: %q after %s, want EXPIRED after 100ms", s.drops[at], s.dropped[at].Sub(now))
		}
	})
}

// What a router says of units that it was never sent, or of other sessions, or without sense, goes nowhere.
func TestStrangeOutcomes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.start("a", func(c *conversation) error {
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			for _, o := range []media.Outcome{
				{Stream: "camera", Sequence: 1, Model: "faces", Result: &media.Result{}},
				{Stream: "nowhere", Sequence: 1, Model: "faces", Result: &media.Result{}},
			} {
				if err := c.outcome(o); err != nil {
					return err
				}
			}
			f, err := c.frame()
			if err != nil {
				return err
			}
			for _, o := range []media.Outcome{
				{Sequence: 1, Error: media.BackendRejected}, {Sequence: 1, Error: media.BackendRejected, Session: "s1"},
				{Sequence: 1, Error: media.BackendRejected, Session: "s2"}, {Sequence: 2, Error: media.BackendRejected}, {Sequence: 1},
			} {
				o.Stream, o.Model = f.GetStream(), "faces"
				if err := c.outcome(o); err != nil {
					return err
				}
			}
			return c.wait()
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		synctest.Wait()
		if len(s.answers) != 0 {
			t.Errorf("answers before anything was sent: %v", s.answers)
		}
		s.offer(1, 1, s.input("faces"), "faces")
		synctest.Wait()
		s.offer(2, 1, s.input("faces"), "faces") // waits for credit
		synctest.Wait()
		if len(s.answers) != 1 || s.answers[unit{"camera", 1, "faces"}] != 2 {
			t.Errorf("answers %v, want two for frame 1, which the ledger tells apart", s.answers)
		}
	})
}

// A router may change what its models need in the middle of a call. The same form keeps its id.
func TestNeedsChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		change := make(chan struct{})
		poses := media.Model{Name: "poses", InputID: 20, Rate: 5, Deadline: time.Second}
		n.start("a", func(c *conversation) error {
			before := []media.Input{{ID: 10, Form: media.PictureForm(small)}, {ID: 20, Form: media.PictureForm(large)}}
			if err := c.welcome(1, []media.Model{faces, poses}, before); err != nil {
				return err
			}
			if _, err := c.frame(); err != nil { // never answered: the only credit stays out
				return err
			}
			<-change
			changed := faces
			changed.InputID = 30
			after := []media.Input{{ID: 20, Form: media.PictureForm(large)}, {ID: 30, Form: media.PictureForm(media.PictureInput{Width: 8, Height: 8, Fit: media.Crop, Color: media.BGR})}}
			if err := c.welcome(1, []media.Model{changed, poses}, after); err != nil {
				return err
			}
			f, err := c.frame()
			if err == nil && f.GetInputId() != 30 {
				t.Errorf("a frame of input %d, want 30", f.GetInputId())
			}
			return c.wait()
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		old, other := s.input("faces"), s.input("poses")
		s.offer(1, 1, old, "faces")
		synctest.Wait()
		s.offer(2, 1, old, "faces") // waits
		close(change)
		synctest.Wait()
		if s.openings != 2 || s.input("faces") == old || s.input("poses") != other {
			t.Errorf("opened %d times; faces took %d, takes %d; poses took %d, takes %d", s.openings, old, s.input("faces"), other, s.input("poses"))
		}
		s.offer(3, 1, old, "faces")
		s.offer(4, 1, s.input("faces"), "faces")
		synctest.Wait()
		if s.drop(2, "faces") != media.Expired || s.drop(3, "faces") != media.Expired {
			t.Errorf("frames of the old form: %q and %q, want EXPIRED", s.drop(2, "faces"), s.drop(3, "faces"))
		}
		if s.sent[unit{"camera", 4, "faces"}].IsZero() {
			t.Error("a frame of the new form was not sent")
		}
	})
}

func TestDemand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.start("a", func(c *conversation) error {
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			demand := &sluicev1.Demand{Stream: new("camera"), MaxFramerate: new(10.0)}
			if err := c.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Demand{Demand: demand}}); err != nil {
				return err
			}
			return c.wait()
		})
		s := openSession(t, n.pool("a"))
		s.until("a demand", func() bool { return len(s.demands) == 1 })
		if s.demands[0] != (media.Demand{Stream: "camera", MaxFramerate: 10}) {
			t.Errorf("demand %+v", s.demands[0])
		}
	})
}

func TestFrameForNoModelIsOnlyReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openSession(t, newNetwork(t).pool("nobody"))
		s.offer(1, 1, 1)
	})
}
