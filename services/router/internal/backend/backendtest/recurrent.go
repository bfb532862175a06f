package backendtest

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// talk gives the windows of a stream of noise, continuous, with a state of their own.
func (h Harness) talk(t *testing.T, windows int, seed uint64) []backend.Frame {
	t.Helper()
	state := &backend.State{}
	frames := h.frames(t, windows, 1000+seed)
	for i := range frames {
		frames[i].FirstSample = uint32(i * h.Config.Windows.Hop)
		frames[i].State = state
	}
	return frames
}

// alone runs the windows one after the other, as the only stream there is.
func alone(t *testing.T, model *backend.Model, frames []backend.Frame) [][]byte {
	t.Helper()
	var answers [][]byte
	for i := range frames {
		answers = append(answers, mustInfer(t, model, frames[i:i+1])...)
	}
	return answers
}

// statesBatchedEqualAlone lets streams come and go, each at another place of every batch: each of them hears what it hears alone, bit by bit.
func statesBatchedEqualAlone(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	const windows = 6
	streams := h.Config.MaxBatch
	var want, streamed [][][]byte
	var talks [][]backend.Frame
	for s := range streams {
		want = append(want, alone(t, model, h.talk(t, windows, uint64(s))))
		talks = append(talks, h.talk(t, windows, uint64(s)))
		streamed = append(streamed, nil)
	}
	for step := range windows + streams {
		var batch []backend.Frame
		var who []int
		for i := range streams {
			s := (i + step) % streams
			if window := step - s; window >= 0 && window < windows {
				batch, who = append(batch, talks[s][window]), append(who, s)
			}
		}
		if len(batch) == 0 {
			continue
		}
		for i, answer := range mustInfer(t, model, batch) {
			streamed[who[i]] = append(streamed[who[i]], answer)
		}
	}
	for s := range streams {
		if !slices.EqualFunc(want[s], streamed[s], bytes.Equal) {
			t.Errorf("stream %d got other answers in batches than alone", s)
		}
	}
	forgetful := h.talk(t, windows, 0)
	for i := range forgetful {
		forgetful[i].State = nil
	}
	if slices.EqualFunc(want[0], alone(t, model, forgetful), bytes.Equal) {
		t.Error("a stream that is forgotten after each window gets the same answers: the test cannot tell whether anything is remembered")
	}
}

// spoiler is a driver whose answers can be spoiled: an output is missing then.
type spoiler struct {
	backend.Driver
	spoil atomic.Bool
}

func (s *spoiler) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	output, err := s.Driver.Infer(ctx, request)
	if err == nil && s.spoil.Load() {
		output.Tensors = output.Tensors[1:]
	}
	return output, err
}

// failedBatchKeepsTheStates loses a batch that the model has run. Its streams go on from where they were before.
func failedBatchKeepsTheStates(t *testing.T, h Harness) {
	t.Helper()
	driver := &spoiler{Driver: h.driver(t)}
	model, err := backend.New(h.Config, driver)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Check(patient(t)); err != nil {
		t.Fatalf("Check: %v", err)
	}
	first, second := h.talk(t, 3, 1), h.talk(t, 3, 2)
	want := [][]byte{
		alone(t, model, slices.Concat(first[:1], first[2:]))[1],
		alone(t, model, slices.Concat(second[:1], second[2:]))[1],
	}
	first, second = h.talk(t, 3, 1), h.talk(t, 3, 2)
	mustInfer(t, model, []backend.Frame{first[0], second[0]})
	driver.spoil.Store(true)
	if _, err := model.Infer(patient(t), 0, []backend.Frame{first[1], second[1]}); backend.CodeOf(err) != media.BackendProtocol {
		t.Fatalf("a spoiled batch: %v, want %s", err, media.BackendProtocol)
	}
	driver.spoil.Store(false)
	if got := mustInfer(t, model, []backend.Frame{first[2], second[2]}); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Error("after a batch that failed the streams go on from another state than before it")
	}
}

// gapsEndTheState misses samples: a little is bridged, more than a second begins the stream anew, forwards and backwards.
func gapsEndTheState(t *testing.T, h Harness) {
	t.Helper()
	model := h.model(t)
	second := uint32(h.Config.Windows.Rate)
	continuous := alone(t, model, h.talk(t, 2, 3))
	anew := mustInfer(t, model, []backend.Frame{{Frame: h.talk(t, 2, 3)[1].Frame}})[0]
	if bytes.Equal(continuous[1], anew) {
		t.Fatal("a second window has the same answer with and without the first: the test cannot tell them apart")
	}
	for _, c := range []struct {
		name  string
		first uint32 // of the second window, beyond that of the first and a hop
		begin uint32 // of the first window
		want  []byte
	}{
		{"continuous", 0, 0, continuous[1]},
		{"continuous beyond 2^32", 0, 1<<32 - 100, continuous[1]},
		{"a second is missing", second, 0, continuous[1]},
		{"more than a second is missing", second + 1, 0, anew},
		{"a second too much", -second, 5 * second, continuous[1]},
		{"back by more than a second", -second - 1, 5 * second, anew},
		{"another timeline", 1 << 31, 0, anew},
	} {
		frames := h.talk(t, 2, 3)
		frames[0].FirstSample = c.begin
		frames[1].FirstSample = c.begin + uint32(h.Config.Windows.Hop) + c.first
		if got := alone(t, model, frames); !bytes.Equal(got[1], c.want) {
			t.Errorf("%s: the second window has another answer", c.name)
		}
	}
}
