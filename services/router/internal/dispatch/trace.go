package dispatch

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// askTraced is ask for a batch with frames that are traced. The batch has one span, in the trace of the first of them, and is linked to all its frames: what it costs is shared. Each
// traced frame has a span for its own time in the batch, linked to that one.
func (m *model) askTraced(ctx context.Context, f *flight) []reply.Answer {
	var first oteltrace.Span
	links := make([]oteltrace.Link, 0, len(f.seats))
	for i := range f.seats {
		j := f.seats[i].job
		links = append(links, linkTo(j.frame))
		if j.frame.Span == nil {
			continue
		}
		if first == nil {
			first = j.frame.Span
		}
		if f.again == nil && j.code == media.NoError { // else it was sent before
			trace.Stage(j.frame.Span, "queue", j.frame.Arrived, f.sent, trace.ModelKey.String(m.cfg.Name))
		}
	}
	running, batch := trace.Child(ctx, first, "batch", f.sent, oteltrace.WithLinks(links...), oteltrace.WithAttributes(
		trace.ModelKey.String(m.cfg.Name), trace.BatchSizeKey.Int(len(f.seats)), trace.InstanceKey.Int(f.instance)))
	answers := m.ask(running, f.instance, f.frames)
	now := time.Now()
	if code := answers[0].Error; code != media.NoError {
		batch.SetStatus(codes.Error, code.String())
	}
	batch.End(oteltrace.WithTimestamp(now))
	for i := range f.seats {
		if frame := f.seats[i].job.frame; frame.Span != nil {
			m.traceInfer(ctx, f, frame.Span, batch, answers[i], now)
		}
	}
	return answers
}

// traceInfer records a frame's time in a batch, and what the batch brought it. Another one may follow.
func (m *model) traceInfer(ctx context.Context, f *flight, frame, batch oteltrace.Span, a reply.Answer, now time.Time) {
	_, span := trace.Child(ctx, frame, "infer", f.sent, oteltrace.WithLinks(oteltrace.Link{SpanContext: batch.SpanContext()}))
	trace.Ended(span, media.Outcome{Model: m.cfg.Name, BatchSize: len(f.seats), Result: a.Result, Error: a.Error})
	span.End(oteltrace.WithTimestamp(now))
}

// linkTo names a frame of a batch: its span, or that of its unit where nobody traces it.
func linkTo(f *Frame) oteltrace.Link {
	l := oteltrace.Link{Attributes: trace.Unit(f.Session, f.Stream, f.Sequence)}
	if f.Span != nil {
		l.SpanContext = f.Span.SpanContext()
	} else {
		l.SpanContext = trace.Context(trace.Of(f.Session).Unit(f.Stream, f.Sequence), false)
	}
	return l
}

// traceEnd records what became of a traced frame for a model, before the frame's owner is told.
func traceEnd(f *Frame, o media.Outcome) {
	if o.BatchSize == 0 {
		trace.Stage(f.Span, "queue", f.Arrived, time.Now(), trace.Outcome(o)...)
	}
	if len(f.Due) == 1 {
		trace.Ended(f.Span, o)
	}
}
