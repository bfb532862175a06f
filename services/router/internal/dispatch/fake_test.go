package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runner is a scripted model: run says what it does with a batch. It records the batches.
type runner struct {
	run func(ctx context.Context, frames []backend.Frame) []reply.Answer
	// on, when set, takes the place of run and is told the instance.
	on func(ctx context.Context, instance int, frames []backend.Frame) []reply.Answer
	// away, when set, tells which instances are not ready.
	away func(instance int) bool
	// more is the number of instances beyond the first.
	more int

	mu      sync.Mutex
	batches [][]string // payloads, as texts
}

func (r *runner) Instances() int { return 1 + r.more }

func (r *runner) Ready(instance int) error {
	if r.away != nil && r.away(instance) {
		return errors.New("away")
	}
	return nil
}

func (r *runner) Profile(int) []backend.Timing { return nil }

func (r *runner) Run(ctx context.Context, instance int, frames []backend.Frame) []reply.Answer {
	var texts []string
	for _, f := range frames {
		texts = append(texts, string(f.Payload.Whole()))
	}
	r.mu.Lock()
	r.batches = append(r.batches, texts)
	r.mu.Unlock()
	if r.on != nil {
		return r.on(ctx, instance, frames)
	}
	return r.run(ctx, frames)
}

func (r *runner) seen() [][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// echo answers each frame with its payload after a while, or with a timeout when its context ends before.
func echo(after time.Duration) func(context.Context, []backend.Frame) []reply.Answer {
	return func(ctx context.Context, frames []backend.Frame) []reply.Answer {
		select {
		case <-time.After(after):
			return echoes(frames)
		case <-ctx.Done():
			return reply.All(len(frames), media.BackendTimeout)
		}
	}
}

func echoes(frames []backend.Frame) []reply.Answer {
	answers := make([]reply.Answer, len(frames))
	for i, f := range frames {
		answers[i].Result = &media.Result{JSON: []string{string(f.Payload.Whole())}}
	}
	return answers
}

// hang ignores its context: it answers when release is closed.
func hang(release <-chan struct{}) func(context.Context, []backend.Frame) []reply.Answer {
	return func(_ context.Context, frames []backend.Frame) []reply.Answer {
		<-release
		return echoes(frames)
	}
}

// timed is an outcome with the time since the bed was made.
type timed struct {
	media.Outcome
	at time.Duration
}

// session is an owner that records its outcomes.
type session struct {
	id    string
	share media.Share
	start time.Time

	mu       sync.Mutex
	outcomes []timed
	demands  []media.Demand
}

func (s *session) Demand(d media.Demand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.demands = append(s.demands, d)
}

func (s *session) Ended(f *Frame, o media.Outcome) {
	if f.Owner != Owner(s) {
		panic("outcome of another owner's frame")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, timed{o, time.Since(s.start)})
}

func (s *session) take() []timed {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.outcomes = nil }()
	return s.outcomes
}

var input = media.PictureInput{Width: 2, Height: 2, Fit: media.Letterbox, Color: media.RGB}

func modelConfig(name string, r Runner) ModelConfig {
	return ModelConfig{
		Name: name, Input: media.PictureForm(input), Rate: 15, Deadline: 250 * time.Millisecond, Result: "json", MaxBatch: 4, Slots: 1, Streams: 16, Runner: r,
	}
}

// bed is a dispatcher inside a synctest bubble. It runs once begin has been called.
type bed struct {
	*Dispatcher
	t        *testing.T
	start    time.Time
	registry *prometheus.Registry
	begin    func()
	stop     func() error
	frames   Frames
	released int // payloads given back
	mu       sync.Mutex
}

func newBed(t *testing.T, models ...ModelConfig) *bed {
	t.Helper()
	b := newBedOf(t, nil, models...)
	b.begin()
	return b
}

// newBedOf makes a bed whose models have a policy of the test's, nil for the usual one. What is submitted before begin is there all at once when the models first look.
func newBedOf(t *testing.T, policy func() batch.Policy, models ...ModelConfig) *bed {
	t.Helper()
	b := &bed{t: t, start: time.Now(), registry: prometheus.NewRegistry()}
	var err error
	b.Dispatcher, err = New(Config{Models: models, Policy: policy, Registry: b.registry, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	b.begin = func() { go func() { done <- b.Run(ctx) }() }
	b.stop = func() error { cancel(); return <-done }
	return b
}

func (b *bed) session(id string) *session { return &session{id: id, start: b.start} }

// submit sends a frame that is due for the models in the given time.
func (b *bed) submit(s *session, stream string, sequence uint32, payload string, in time.Duration, models ...string) {
	now := time.Now()
	f := b.frames.New()
	f.Stream, f.Sequence, f.InputID, f.Payload = stream, sequence, 1, media.Payload{[]byte(payload)}
	f.Frame.Release = func() { b.mu.Lock(); defer b.mu.Unlock(); b.released++ }
	f.Session, f.Owner, f.Arrived, f.Share = s.id, s, now, s.share
	for _, m := range models {
		if known := b.now().find(m); known != nil {
			f.InputID = known.inputID
		}
		f.Due = append(f.Due, media.Due{Model: m, Deadline: now.Add(in)})
	}
	b.Submit(f)
}

func (b *bed) payloadsReleased() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.released
}

// advance lets the bubble's time pass and everything settle.
func advance(d time.Duration) {
	<-time.After(d) // in a bubble: no real time passes
	synctest.Wait()
}

// wants is the short form of an outcome that tests compare.
type wants struct {
	sequence uint32
	end      string
	ms       int64
}

func short(outcomes []timed) []wants {
	var ws []wants
	for _, o := range outcomes {
		w := wants{o.Sequence, "result", o.at.Milliseconds()}
		switch {
		case o.Drop != media.NotDropped:
			w.end = o.Drop.String()
		case o.Error != media.NoError:
			w.end = o.Error.String()
		}
		ws = append(ws, w)
	}
	return ws
}

func expect(t *testing.T, s *session, want ...wants) {
	t.Helper()
	if got := short(s.take()); !slices.Equal(got, want) {
		t.Errorf("session %s: outcomes %v, want %v", s.id, got, want)
	}
}
