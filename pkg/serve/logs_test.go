package serve

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/trace"
)

// TestQuietLogs logs what may go wrong for every frame, ten times a second for five seconds: the log has the first ones, and then one a second that says how many there were.
func TestQuietLogs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	all := QuietLogs(slog.NewTextHandler(&out, nil))
	of := all.WithAttrs([]slog.Attr{slog.String("session", "a")}).WithGroup("part")
	for i := range 50 {
		at := time.Unix(1000, int64(i)*1e8)
		for _, c := range []struct {
			to      slog.Handler
			level   slog.Level
			message string
		}{
			{of, slog.LevelWarn, "a batch failed"}, {all, slog.LevelError, "a batch failed"}, {all, slog.LevelInfo, "session ended"},
		} {
			if err := c.to.Handle(t.Context(), slog.NewRecord(at, c.level, c.message, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	said := out.String()
	for text, want := range map[string]int{
		`level=WARN msg="a batch failed" session=a`: 14, // the first ten, and one for each second after the first
		`level=ERROR msg="a batch failed"`:          14, // another level is another text
		`msg="session ended"`:                       50,
		`part.suppressed=9`:                         3,
	} {
		if n := strings.Count(said, text); n != want {
			t.Errorf("%d lines with %s, want %d:\n%s", n, text, want, said)
		}
	}
}

// TestQuietLogsAreBounded logs more texts than a program has.
func TestQuietLogsAreBounded(t *testing.T) {
	t.Parallel()
	h := QuietLogs(slog.DiscardHandler).(quiet)
	for i := range 3 * maxTexts {
		_ = h.Handle(t.Context(), slog.NewRecord(time.Unix(0, 0), slog.LevelError, fmt.Sprint("text ", i), 0))
	}
	if n := len(h.texts.seen); n > maxTexts {
		t.Errorf("%d texts are remembered", n)
	}
}

// TestLogsNameTheTrace logs in and out of a traced unit's context.
func TestLogsNameTheTrace(t *testing.T) {
	t.Parallel()
	unit := media.Trace{ID: [16]byte{0xab}, Span: [8]byte{0xcd}}
	within := func(sampled bool) context.Context {
		return oteltrace.ContextWithSpanContext(t.Context(), trace.Context(unit, sampled))
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"traced":       {within(true), "trace_id=ab000000000000000000000000000000 span_id=cd00000000000000"},
		"not recorded": {within(false), ""},
		"no trace":     {t.Context(), ""},
	} {
		var out bytes.Buffer
		slog.New(QuietLogs(slog.NewTextHandler(&out, nil))).WarnContext(c.ctx, "a batch failed")
		if said := out.String(); !strings.Contains(said, c.want) || (c.want == "") == strings.Contains(said, "trace_id") {
			t.Errorf("%s: %s", name, said)
		}
	}
}
