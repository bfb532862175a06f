package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve/tracetest"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// tracing is an owner that traces some of its frames, and ends their spans as intake does.
type tracing struct {
	*session
	tracer *trace.Tracer
}

func (o tracing) Ended(f *Frame, outcome media.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcomes = append(o.outcomes, timed{outcome, time.Since(o.start)})
	if f.Span != nil {
		f.Span.End()
	}
}

// submitTraced is submit for a frame that is traced.
func (b *bed) submitTraced(o *tracing, stream string, sequence uint32, in time.Duration, model string) {
	now := time.Now()
	f := b.frames.New()
	f.Stream, f.Sequence, f.InputID, f.Payload = stream, sequence, b.now().find(model).inputID, media.Payload{[]byte("x")}
	f.Session, f.Owner, f.Arrived = o.id, o, now
	f.Due = append(f.Due, media.Due{Model: model, Deadline: now.Add(in)})
	f.Span = o.tracer.Begin(trace.Of(o.id).Unit(stream, sequence), "frame", now)
	b.Submit(f)
}

// whole gives the span of a unit of the test's.
func whole(t *testing.T, r *tracetest.Recorder, session, stream string, sequence uint32) sdktrace.ReadOnlySpan {
	t.Helper()
	id := trace.Of(session).Unit(stream, sequence)
	for _, s := range r.Named("frame") {
		if s.SpanContext().TraceID() == id.ID {
			return s
		}
	}
	t.Fatalf("frame %d of %s/%s has no span that ended", sequence, session, stream)
	return nil
}

// TestATracedBatch runs a batch in which two frames of three are traced: it has one span, in the first one's trace, linked to all frames; each traced one has its own.
func TestATracedBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var within []media.Trace // of the contexts that the runner got
		var mu sync.Mutex
		r := &runner{run: func(ctx context.Context, frames []backend.Frame) []reply.Answer {
			_, part := trace.Part(ctx, "reply", 0)
			part.End()
			mu.Lock()
			within = append(within, trace.Parent(part))
			mu.Unlock()
			return echo(10*ms)(ctx, frames)
		}}
		b := newBed(t, modelConfig("faces", r))
		tracer, recorder := tracetest.New(1)
		plain := b.session("plain")
		one, two := &tracing{b.session("one"), tracer}, &tracing{b.session("two"), tracer}
		b.submit(plain, "camera", 1, "first", 250*ms, "faces")
		synctest.Wait() // it goes alone; the others wait for the slot
		b.submit(plain, "camera", 2, "second", 240*ms, "faces")
		b.submitTraced(one, "camera", 7, 245*ms, "faces")
		b.submitTraced(two, "camera", 8, 250*ms, "faces")
		advance(30 * ms)
		if err := b.stop(); err != nil {
			t.Error(err)
		}

		batches := recorder.Named("batch")
		if len(batches) != 1 || len(within) != 2 || within[0].Valid() || !within[1].Valid() {
			t.Fatalf("%d batches are traced, with parts in %v; want the second of two", len(batches), within)
		}
		batch := batches[0]
		first := whole(t, recorder, "one", "camera", 7)
		if batch.Parent().SpanID() != first.SpanContext().SpanID() || tracetest.Attribute(batch, "sluice.batch.size") != "3" || batch.EndTime().Sub(batch.StartTime()) != 10*ms {
			t.Errorf("the batch is %v of %s, from %v to %v", batch.Parent(), tracetest.Attribute(batch, "sluice.batch.size"), batch.StartTime(), batch.EndTime())
		}
		var linked []string
		for _, l := range batch.Links() {
			linked = append(linked, l.SpanContext.TraceID().String())
		}
		var want []string
		for _, unit := range []media.Trace{trace.Of("plain").Unit("camera", 2), trace.Of("one").Unit("camera", 7), trace.Of("two").Unit("camera", 8)} {
			want = append(want, trace.Context(unit, true).TraceID().String())
		}
		if slices.Sort(linked); !slices.Equal(linked, slices.Sorted(slices.Values(want))) {
			t.Errorf("the batch is linked to %v, want %v", linked, want)
		}
		for name, sequence := range map[string]uint32{"one": 7, "two": 8} {
			span := whole(t, recorder, name, "camera", sequence)
			parts := recorder.Names(span.SpanContext().SpanID())
			if parts = slices.DeleteFunc(parts, func(p string) bool { return p == "batch" }); !slices.Equal(parts, []string{"infer", "queue"}) {
				t.Errorf("the parts of %s's frame are %v", name, parts)
			}
			if tracetest.Attribute(span, "sluice.outcome") != "result" {
				t.Errorf("%s's frame ended as %q", name, tracetest.Attribute(span, "sluice.outcome"))
			}
		}
		for _, infer := range recorder.Named("infer") {
			if len(infer.Links()) != 1 || infer.Links()[0].SpanContext.SpanID() != batch.SpanContext().SpanID() || infer.EndTime().Sub(infer.StartTime()) != 10*ms {
				t.Errorf("a frame's time in the batch is linked to %v", infer.Links())
			}
		}
	})
}

// TestATracedFrameThatIsNotSent gives traced frames up while they wait, and one whose batch fails.
func TestATracedFrameThatIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, modelConfig("faces", &runner{run: echo(time.Second)}))
		tracer, recorder := tracetest.New(1)
		s := &tracing{b.session("s"), tracer}
		b.submitTraced(s, "camera", 1, 50*ms, "faces")
		synctest.Wait()
		b.submitTraced(s, "camera", 2, 50*ms, "faces")
		advance(10 * ms)
		b.submitTraced(s, "camera", 3, 30*ms, "faces") // over before the slot is free
		advance(100 * ms)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		for sequence, want := range map[uint32]struct {
			reason string
			parts  []string
		}{
			1: {"BACKEND_TIMEOUT", []string{"batch", "infer", "queue"}},
			2: {"SUPERSEDED", []string{"queue"}},
			3: {"EXPIRED", []string{"queue"}},
		} {
			span := whole(t, recorder, "s", "camera", sequence)
			if got := tracetest.Attribute(span, "sluice.reason"); got != want.reason {
				t.Errorf("frame %d ended as %s, want %s", sequence, got, want.reason)
			}
			if parts := recorder.Names(span.SpanContext().SpanID()); !slices.Equal(parts, want.parts) {
				t.Errorf("the parts of frame %d are %v, want %v", sequence, parts, want.parts)
			}
		}
	})
}

// TestATracedFrameRunsAgain has a batch refused by one instance of two: a frame's first try and its second are both in its trace, its time in the queue once.
func TestATracedFrameRunsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{more: 1, on: func(_ context.Context, instance int, frames []backend.Frame) []reply.Answer {
			if instance == 0 {
				return reply.All(len(frames), media.BackendRejected)
			}
			return echoes(frames)
		}}
		b := newBed(t, modelConfig("faces", r))
		tracer, recorder := tracetest.New(1)
		s := &tracing{b.session("s"), tracer}
		b.submitTraced(s, "camera", 1, 250*ms, "faces")
		advance(50 * ms)
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		span := whole(t, recorder, "s", "camera", 1)
		if parts := recorder.Names(span.SpanContext().SpanID()); !slices.Equal(parts, []string{"batch", "batch", "infer", "infer", "queue"}) {
			t.Errorf("the parts of the frame are %v", parts)
		}
		var ends []string
		for _, infer := range recorder.Named("infer") {
			ends = append(ends, tracetest.Attribute(infer, "sluice.outcome")+tracetest.Attribute(infer, "sluice.reason"))
		}
		if !slices.Equal(ends, []string{"errorBACKEND_REJECTED", "result"}) {
			t.Errorf("the tries ended as %v", ends)
		}
	})
}
