package reply

import (
	"errors"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
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
