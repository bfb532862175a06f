package intake

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

func TestOpened(t *testing.T) {
	t.Parallel()
	large := media.PictureInput{Width: 4, Height: 4, Fit: media.Crop, Color: media.BGR}
	for _, c := range []struct {
		name           string
		wanted         []string
		models, inputs int
	}{
		{"all", nil, 3, 2},
		{"two that share an input", []string{"pose", "faces"}, 2, 1},
		{"one", []string{"other"}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, defaults(), modelConfig("faces", small, &model{}), modelConfig("pose", small, &model{}), modelConfig("other", large, &model{}))
				defer b.stop()
				_, opened := b.open("s", c.wanted...)
				if len(opened.GetModels()) != c.models || len(opened.GetInputs()) != c.inputs || opened.GetWindow() != 3 || opened.GetRouter() != "test" {
					t.Fatalf("opened %v, want %d models and %d inputs", opened, c.models, c.inputs)
				}
				for _, m := range opened.GetModels() {
					if !slices.ContainsFunc(opened.GetInputs(), func(in *sluicev1.Input) bool { return in.GetId() == m.GetInputId() }) {
						t.Errorf("model %s takes input %d, which is not among the inputs", m.GetName(), m.GetInputId())
					}
				}
			})
		})
	}
}

// TestBreaches breaks each rule of the protocol: the call ends with the code that the description names, and the router goes on.
func TestBreaches(t *testing.T) {
	t.Parallel()
	good := func(c *client) { c.frame(frame("camera", 5, 1, 200*ms, "faces")) }
	spoiled := func(spoil func(*sluicev1.Frame)) func(*client) {
		return func(c *client) {
			f := frame("camera", 6, 1, 200*ms, "faces")
			spoil(f)
			good(c)
			c.frame(f)
		}
	}
	for name, breach := range map[string]func(*client){
		"empty message":         func(c *client) { c.send(&sluicev1.StreamRequest{}) },
		"no stream":             spoiled(func(f *sluicev1.Frame) { f.Stream = nil }),
		"endless stream name":   spoiled(func(f *sluicev1.Frame) { f.Stream = new(string(make([]byte, 129))) }),
		"no sequence":           spoiled(func(f *sluicev1.Frame) { f.Sequence = nil }),
		"sequence again":        spoiled(func(f *sluicev1.Frame) { f.Sequence = new(uint32(5)) }),
		"sequence falls":        spoiled(func(f *sluicev1.Frame) { f.Sequence = new(uint32(4)) }),
		"no input":              spoiled(func(f *sluicev1.Frame) { f.InputId = nil }),
		"due for nothing":       spoiled(func(f *sluicev1.Frame) { f.Due = nil }),
		"due for 65":            spoiled(func(f *sluicev1.Frame) { f.Due = slices.Repeat(f.GetDue(), 65) }),
		"due twice":             spoiled(func(f *sluicev1.Frame) { f.Due = slices.Repeat(f.GetDue(), 2) }),
		"model not of the call": spoiled(func(f *sluicev1.Frame) { f.Due[0].Model = new("other") }),
		"model of other input":  spoiled(func(f *sluicev1.Frame) { f.Due[0].Model = new("large") }),
		"no remaining time":     spoiled(func(f *sluicev1.Frame) { f.Due[0].Remaining = nil }),
		"remaining NaN":         spoiled(func(f *sluicev1.Frame) { f.Due[0].Remaining = new(math.NaN()) }),
		"remaining infinite":    spoiled(func(f *sluicev1.Frame) { f.Due[0].Remaining = new(math.Inf(1)) }),
		"payload too short":     spoiled(func(f *sluicev1.Frame) { f.Payload = f.GetPayload()[1:] }),
		"payload too long":      spoiled(func(f *sluicev1.Frame) { f.Payload = append(f.GetPayload(), 0) }),
		"no placement":          spoiled(func(f *sluicev1.Frame) { f.Placement = nil }),
		"placement NaN":         spoiled(func(f *sluicev1.Frame) { f.Placement.X = new(math.NaN()) }),
		"placement infinite":    spoiled(func(f *sluicev1.Frame) { f.Placement.Width = new(math.Inf(1)) }),
		"capture time far off":  spoiled(func(f *sluicev1.Frame) { f.CaptureTime = &timestamppb.Timestamp{Seconds: math.MaxInt64} }),
		"unknown clock":         spoiled(func(f *sluicev1.Frame) { f.Clock = new(sluicev1.Outcome_Clock(258)) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, defaults(), modelConfig("faces", small, &model{after: 50 * ms}), modelConfig("other", small, &model{}),
					modelConfig("large", media.PictureInput{Width: 3, Height: 3, Fit: media.Crop, Color: media.BGR}, &model{}))
				defer b.stop()
				c, _ := b.open("s", "faces", "large")
				breach(c)
				if got := failure(c); got != codes.InvalidArgument {
					t.Errorf("the call ended with %v, want INVALID_ARGUMENT", got)
				}
				next, _ := b.open("next")
				good(next)
				if got := end(next.outcome()); got != "result" {
					t.Errorf("the next call's frame: %s", got)
				}
			})
		})
	}
}

// failure receives until the call ends.
func failure(c *client) codes.Code {
	for {
		if _, err := c.stream.Recv(); err != nil {
			return status.Code(err)
		}
	}
}

func TestOpening(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		messages []*sluicev1.StreamRequest
		want     codes.Code
	}{
		"frame first":   {[]*sluicev1.StreamRequest{{Body: &sluicev1.StreamRequest_Frame{}}}, codes.FailedPrecondition},
		"nothing first": {[]*sluicev1.StreamRequest{{}}, codes.FailedPrecondition},
		"twice":         {[]*sluicev1.StreamRequest{openRequest("s"), openRequest("s")}, codes.FailedPrecondition},
		"unknown model": {[]*sluicev1.StreamRequest{openRequest("s", "nobody", "neither")}, codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, defaults(), modelConfig("faces", small, &model{}))
				defer b.stop()
				client := b.dial()
				for _, m := range c.messages {
					client.send(m)
				}
				if got := failure(client); got != c.want {
					t.Errorf("the call ended with %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestStaleInputIsExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, defaults(), modelConfig("faces", small, &model{}), modelConfig("pose", small, &model{}))
		defer b.stop()
		c, _ := b.open("s")
		c.frame(frame("camera", 1, 77, 200*ms, "faces", "pose"))
		for range 2 {
			if o := c.outcome(); end(o) != "EXPIRED" || o.GetSequence() != 1 {
				t.Errorf("outcome %v, want EXPIRED of frame 1", o)
			}
		}
		if credit := c.recv().GetCredit(); credit.GetStream() != "camera" || credit.GetInputId() != 77 || credit.GetFrames() != 1 {
			t.Errorf("credit %v, want one frame of camera, input 77", credit)
		}
	})
}

// TestCreditFollowsTheLastOutcome sends a frame for a fast and a slow model.
func TestCreditFollowsTheLastOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, defaults(), modelConfig("fast", small, &model{after: 10 * ms}), modelConfig("slow", small, &model{after: 90 * ms}))
		defer b.stop()
		c, _ := b.open("s")
		start := time.Now()
		c.frame(frame("camera", 1, 1, 200*ms, "fast", "slow"))
		var got []string
		for range 3 {
			m := c.recv()
			got = append(got, fmt.Sprintf("%d %s%d", time.Since(start).Milliseconds(), m.GetOutcome().GetModel(), m.GetCredit().GetFrames()))
		}
		if want := []string{"10 fast0", "90 slow0", "90 1"}; !slices.Equal(got, want) {
			t.Errorf("received %q, want %q", got, want)
		}
	})
}

// TestWindow holds an edge to its window, which counts from the credits that went out.
func TestWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults()
		cfg.Window = 2
		b := newBed(t, cfg, modelConfig("faces", small, &model{after: 50 * ms}))
		defer b.stop()
		c, _ := b.open("s")
		window, sequence := cfg.Window, uint32(0)
		for range 50 { // spends the whole window always, and never breaks the rules
			for ; window > 0; window-- {
				sequence++
				c.frame(frame("camera", sequence, 1, 200*ms, "faces"))
				synctest.Wait()
			}
			window += int(c.recv().GetCredit().GetFrames())
		}
		if sequence < 10 {
			t.Errorf("only %d frames could be sent", sequence)
		}
		<-time.After(time.Second) // the model is free: of the next frames one is there, one waits, and neither's credit comes before the third
		for range cfg.Window + 1 {
			sequence++
			c.frame(frame("other", sequence, 1, 200*ms, "faces"))
			synctest.Wait()
		}
		if got := failure(c); got != codes.InvalidArgument {
			t.Errorf("the call ended with %v, want INVALID_ARGUMENT", got)
		}
	})
}

func TestOutcomeCarriesTheFramesIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, defaults(), modelConfig("faces", small, &model{after: 20 * ms}))
		defer b.stop()
		c, _ := b.open("me")
		f := frame("camera", 9, 1, 200*ms, "faces")
		f.RtpTimestamp, f.Ssrc, f.Clock, f.CaptureTime = new(uint32(0)), new(uint32(7)), sluicev1.Outcome_ABS_CAPTURE.Enum(), nil
		f.Timings = &sluicev1.Timings{Decode: new(0.002)}
		c.frame(f)
		o := c.outcome()
		if o.GetSession() != "me" || o.GetStream() != "camera" || o.GetSequence() != 9 || o.RtpTimestamp == nil || o.GetSsrc() != 7 || o.GetModel() != "faces" ||
			o.GetBatchSize() != 1 || o.GetTimings().GetDecode() != 0.002 || o.GetTimings().GetInfer() != 0.02 || o.Timings.Total != nil {
			t.Errorf("outcome %v", o)
		}
	})
}

func TestStreamsComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults()
		cfg.Streams = 2
		b := newBed(t, cfg, modelConfig("faces", small, &model{after: 50 * ms}))
		defer b.stop()
		c, _ := b.open("s")
		for i := range 10 { // one after the other: the idle ones make room
			c.frame(frame(fmt.Sprint("stream", i), 1, 1, 200*ms, "faces"))
			if got := end(c.outcome()); got != "result" {
				t.Errorf("stream %d: %s", i, got)
			}
			synctest.Wait()
			c.recv()
		}
		for i := range 3 { // all at once: the third is too many
			c.frame(frame(fmt.Sprint("busy", i), 1, 1, 200*ms, "faces"))
			synctest.Wait()
		}
		if o := c.outcome(); end(o) != "OVERLOADED" || o.GetStream() != "busy2" {
			t.Errorf("outcome %v, want OVERLOADED for busy2", o)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{Outbox: 1, Streams: 1}, {Window: 1, Streams: 1}, {Window: 1, Outbox: 1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v accepted", cfg)
		}
	}
}

// eof receives until the router closes the call, and returns what came.
func eof(t *testing.T, c *client) (outcomes []*sluicev1.Outcome) {
	t.Helper()
	for {
		m, err := c.stream.Recv()
		if errors.Is(err, io.EOF) {
			return outcomes
		}
		if err != nil {
			t.Fatalf("the call ended with %v, want a regular end", err)
		}
		if o := m.GetOutcome(); o != nil {
			outcomes = append(outcomes, o)
		}
	}
}

// full is a policy of a model that can answer 10 frames a second and has been asked for more for long.
type full struct{ *batch.Fresh }

func (full) Load(now time.Time) batch.Load {
	return batch.Load{Overloaded: true, Since: now.Add(-time.Minute), Capacity: 10}
}

// TestDemandReachesTheEdge with the size that the model looks at.
func TestDemandReachesTheEdge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := dispatch.Config{
			Models: []dispatch.ModelConfig{modelConfig("faces", small, &model{after: ms})}, Policy: func() batch.Policy { return &full{batch.NewFresh(batch.Options{})} },
		}
		b := newBedOf(t, defaults(), cfg)
		defer b.stop()
		c, _ := b.open("s")
		var demand *sluicev1.Demand
		for i := uint32(1); demand == nil && i < 100; i++ {
			c.frame(frame("camera", i, 1, 100*ms, "faces"))
			for { // up to the frame's credit
				m := c.recv()
				if d := m.GetDemand(); d != nil {
					demand = d
				}
				if m.GetCredit() != nil {
					break
				}
			}
			<-time.After(50 * ms)
		}
		want := &sluicev1.Demand{Stream: new("camera"), Model: new("faces"), MaxFramerate: new(9.5), MaxWidth: new(uint32(2)), MaxHeight: new(uint32(1))}
		if !proto.Equal(demand, want) {
			t.Errorf("demand %v, want %v", demand, want)
		}
	})
}
