package serve

import (
	"context"
	"log/slog"
	"sync"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// loudest is how often a second one warning or error is logged, whatever its attributes, after a burst.
	loudest, loudBurst = rate.Limit(1), 10
	// maxTexts bounds the texts that are told apart. Those of the program are constants, and fewer.
	maxTexts = 512
)

// QuietLogs gives a handler that logs each warning and each error, by its text, ten times and then once a second, and says in the attribute "suppressed" how many there were in
// between: what fails for one client may fail for all of them, and for each of their frames. Records of a context in which a traced span is open get its trace_id and span_id.
func QuietLogs(to slog.Handler) slog.Handler {
	return quiet{to, &texts{seen: make(map[text]*said)}}
}

// quiet is a slog.Handler.
type quiet struct {
	slog.Handler
	texts *texts
}

// text is what a warning or an error is known by.
type text struct {
	level   slog.Level
	message string
}

// texts remember how often each text was logged. They are safe for concurrent use.
type texts struct {
	mu   sync.Mutex
	seen map[text]*said
}

// said is what is known of one text.
type said struct {
	limiter    *rate.Limiter
	suppressed int
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		suppressed, ok := q.texts.admit(r)
		if !ok {
			return nil
		}
		if suppressed > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("suppressed", suppressed))
		}
	}
	if span := oteltrace.SpanContextFromContext(ctx); span.IsSampled() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attributes []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attributes), q.texts}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.texts} }

// admit tells whether a record is to be logged, and how many like it were not since the last one that was.
func (t *texts) admit(r slog.Record) (suppressed int, ok bool) {
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := text{r.Level, r.Message}
	s := t.seen[key]
	if s == nil {
		if len(t.seen) >= maxTexts {
			clear(t.seen) // rather than to grow: some are told once more
		}
		s = &said{limiter: rate.NewLimiter(loudest, loudBurst)}
		t.seen[key] = s
	}
	if !s.limiter.AllowN(at, 1) {
		s.suppressed++
		return 0, false
	}
	suppressed, s.suppressed = s.suppressed, 0
	return suppressed, true
}
