package intake

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve/tracetest"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// TestFramesAreTracedAsTheEdgeSays sends frames of an edge that traces one of them, to a router that traces none, all or nothing by itself.
func TestFramesAreTracedAsTheEdgeSays(t *testing.T) {
	t.Parallel()
	edges := media.Trace{ID: [16]byte{0xab, 15: 1}, Span: [8]byte{0xcd}}
	own := trace.Of("s").Unit("camera", 1)
	for name, c := range map[string]struct {
		tracer      bool
		fraction    float64
		traceparent string
		want        *media.Trace // the frame's trace, with the parent's span; nil for none
	}{
		"by the edge":                     {true, 0, edges.String(), &edges},
		"by the edge, in spite of all":    {true, 1, edges.String(), &edges},
		"by the router":                   {true, 1, "", &media.Trace{ID: own.ID}},
		"by nobody":                       {true, 0, "", nil},
		"nonsense is nobody":              {true, 0, "00-nonsense", nil},
		"by the edge alone":               {false, 0, edges.String(), nil},
		"by the edge, which took it back": {true, 0, edges.String()[:len(edges.String())-1] + "0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tracer, recorder := tracetest.New(c.fraction)
				cfg := defaults()
				if c.tracer {
					cfg.Tracer = tracer
				}
				b := newBed(t, cfg, modelConfig("faces", small, &model{}))
				defer b.stop()
				e, opened := b.open("s")
				f := frame("camera", 1, opened.GetInputs()[0].GetId(), 200*ms, "faces")
				if c.traceparent != "" {
					f.Traceparent = &c.traceparent
				}
				e.frame(f)
				if got := end(e.outcome()); got != "result" {
					t.Fatalf("the frame ended as %s", got)
				}
				synctest.Wait()
				spans := recorder.Named("frame")
				if c.want == nil {
					if len(recorder.All()) > 0 {
						t.Errorf("there are spans: %v", recorder.All())
					}
					return
				}
				if len(spans) != 1 {
					t.Fatalf("%d frames are traced", len(spans))
				}
				got := media.Trace{ID: spans[0].SpanContext().TraceID(), Span: spans[0].Parent().SpanID()}
				if got != *c.want {
					t.Errorf("the frame is in trace %x below %x, want %x below %x", got.ID, got.Span, c.want.ID, c.want.Span)
				}
				if parts := recorder.Names(spans[0].SpanContext().SpanID()); !slices.Equal(parts, []string{"batch", "infer", "intake", "queue"}) {
					t.Errorf("the frame's parts are %v", parts)
				}
			})
		})
	}
}

// TestATracedFrameWithoutAPlace sends a traced frame that is dropped before any model sees it.
func TestATracedFrameWithoutAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracer, recorder := tracetest.New(1)
		cfg := defaults()
		cfg.Tracer = tracer
		b := newBed(t, cfg, modelConfig("faces", small, &model{}))
		defer b.stop()
		e, _ := b.open("s")
		e.frame(frame("camera", 1, 99, 200*ms, "faces")) // of an input that the call does not have
		if got := end(e.outcome()); got != "EXPIRED" {
			t.Fatalf("the frame ended as %s", got)
		}
		synctest.Wait()
		spans := recorder.Named("frame")
		if len(spans) != 1 || tracetest.Attribute(spans[0], "sluice.reason") != "EXPIRED" {
			t.Errorf("the frames that are traced are %v", spans)
		}
	})
}
