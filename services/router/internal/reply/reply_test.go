package reply

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// echoed is an answer that holds, for each frame, one tensor with a name.
type echoed []string

func (e echoed) Frames() int { return len(e) }
func (e echoed) Frame(i int) []media.RawTensor {
	return []media.RawTensor{{Name: e[i]}}
}
func (e echoed) Release() {}

// nameDecoder makes a result of the tensor's name and the placement; "bad" cannot be read and "nothing" gives nothing.
type nameDecoder struct{}

func (nameDecoder) Decode(outputs []media.RawTensor, p media.Placement) (*media.Result, error) {
	switch outputs[0].Name {
	case "bad":
		return nil, errors.New("bad tensor")
	case "nothing":
		return nil, nil
	}
	return &media.Result{JSON: []string{outputs[0].Name}, Embedding: []float32{float32(p.Width)}}, nil
}

func frames(n int) []backend.Frame {
	var fs []backend.Frame
	for i := range n {
		fs = append(fs, backend.Frame{Frame: &media.Frame{Placement: media.Placement{Width: float64(i + 1)}}})
	}
	return fs
}

func TestUnbatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		outputs echoed
		frames  int
		ok      bool
	}{
		{"one", echoed{"a"}, 1, true},
		{"three", echoed{"a", "b", "c"}, 3, true},
		{"none for one", nil, 1, false},
		{"one too few", echoed{"a", "b"}, 3, false},
		{"one too many", echoed{"a", "b", "c"}, 2, false},
		{"the last unreadable", echoed{"a", "b", "bad"}, 3, false},
		{"the first without a result", echoed{"nothing", "b"}, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			answers, err := Unbatch(frames(c.frames), c.outputs, nameDecoder{})
			if (err == nil) != c.ok {
				t.Fatalf("error %v", err)
			}
			if len(answers) != c.frames {
				t.Fatalf("%d answers for %d frames", len(answers), c.frames)
			}
			for i, a := range answers {
				switch {
				case !c.ok && (a.Result != nil || a.Error != media.BackendProtocol):
					t.Errorf("answer %d of a batch that cannot be read: %+v, want BACKEND_PROTOCOL", i, a)
				case c.ok && (a.Error != media.NoError || a.Result.JSON[0] != c.outputs[i] || a.Result.Embedding[0] != float32(i+1)):
					t.Errorf("answer %d = %+v, want the tensor %q with its own placement", i, a, c.outputs[i])
				}
			}
		})
	}
}

// TestCompute passes on what the target says that a batch took.
func TestCompute(t *testing.T) {
	t.Parallel()
	config := backend.Config{Name: "m", Input: tensor.Sound{Samples: 4, Datatype: media.Int16}, MaxBatch: 2}
	fake := backendtest.NewFake("fake", config)
	fake.Hook = func(_ context.Context, _ media.RawTensor, output *backend.Output) error {
		output.Compute = 5 * time.Millisecond
		return nil
	}
	model, err := backend.New(config, fake)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if err := model.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	frame := backend.Frame{Frame: &media.Frame{Payload: media.Payload{make([]byte, 8)}}}
	for i, a := range New(model, 1, nameDecoder{}, slog.New(slog.DiscardHandler)).Run(t.Context(), 0, []backend.Frame{frame, frame}) {
		if a.Result == nil || a.Compute != 5*time.Millisecond {
			t.Errorf("answer %d: %+v, want a result that took 5 ms", i, a)
		}
	}
}

// TestInstances finds instances on targets in turn, so that the first few are on different ones.
func TestInstances(t *testing.T) {
	t.Parallel()
	config := backend.Config{Name: "m", Input: tensor.Sound{Samples: 4, Datatype: media.Int16}, MaxBatch: 1}
	here, away := backendtest.NewFake("here", config), backendtest.NewFake("away", config)
	away.Away.Store(true)
	model, err := backend.New(config, here, away)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if err := model.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := New(model, 2, nameDecoder{}, slog.New(slog.DiscardHandler))
	if r.Instances() != 4 {
		t.Fatalf("%d instances of two on each of two targets", r.Instances())
	}
	for i, want := range []string{"checksum", "", "checksum", ""} {
		before := here.Batches()
		answer := r.Run(t.Context(), i, []backend.Frame{{Frame: &media.Frame{Payload: media.Payload{make([]byte, 8)}}}})[0]
		if want == "" {
			if r.Ready(i) == nil || r.Profile(i) != nil || answer.Error != media.BackendUnavailable || here.Batches() != before {
				t.Errorf("instance %d on a target that is away: ready %v, profile %v, answer %+v", i, r.Ready(i), r.Profile(i), answer)
			}
			continue
		}
		if r.Ready(i) != nil || len(r.Profile(i)) != 1 || answer.Result == nil || answer.Result.JSON[0] != want || here.Batches() != before+1 {
			t.Errorf("instance %d: ready %v, profile %v, answer %+v", i, r.Ready(i), r.Profile(i), answer)
		}
	}
}
