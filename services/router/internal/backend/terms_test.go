package backend_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

func TestMismatch(t *testing.T) {
	t.Parallel()
	input := func(change func(*media.TensorSpec)) func(*backend.Config, *backend.Description) {
		return func(_ *backend.Config, d *backend.Description) { change(&d.Inputs[0]) }
	}
	for _, c := range []struct {
		name   string
		change func(*backend.Config, *backend.Description)
		want   string // empty: it fits
	}{
		{"a fit", func(*backend.Config, *backend.Description) {}, ""},
		{"free sides", input(func(s *media.TensorSpec) { s.Shape = []int{-1, 3, -1, -1} }), ""},
		{"a batch of one, and no more wanted", func(c *backend.Config, d *backend.Description) {
			c.MaxBatch, d.Inputs[0].Shape[0], d.Outputs[0].Shape[0] = 1, 1, 1
		}, ""},
		{"a part of the outputs", func(c *backend.Config, _ *backend.Description) { c.Outputs = []string{"first"} }, ""},
		{"an output of an unknown datatype that nobody wants", func(c *backend.Config, d *backend.Description) {
			c.Outputs, d.Outputs[0].Datatype = []string{"first"}, "BF16"
		}, ""},
		{"the name as configured", func(c *backend.Config, _ *backend.Description) { c.InputName = "pictures" }, ""},
		{"another name", func(c *backend.Config, _ *backend.Description) { c.InputName = "images" }, `no input "images"`},
		{"another size", input(func(s *media.TensorSpec) { s.Shape[3] = 4 }), "shape is another"},
		{"another layout", input(func(s *media.TensorSpec) { s.Shape = []int{-1, 2, 2, 3} }), "shape is another"},
		{"no batch axis", input(func(s *media.TensorSpec) { s.Shape = s.Shape[1:] }), "shape is another"},
		{"another datatype", input(func(s *media.TensorSpec) { s.Datatype = media.Uint8 }), "datatype is UINT8"},
		{"a fixed batch", input(func(s *media.TensorSpec) { s.Shape[0] = 10 }), "fixed at 10, and batches are of 1 to 3"},
		{"no inputs", func(_ *backend.Config, d *backend.Description) { d.Inputs = nil }, "takes 0 inputs"},
		{"two inputs", func(_ *backend.Config, d *backend.Description) { d.Inputs = append(d.Inputs, d.Inputs[0]) }, "takes 2 inputs"},
		{"no outputs", func(_ *backend.Config, d *backend.Description) { d.Outputs = nil }, "no outputs"},
		{"an output twice", func(_ *backend.Config, d *backend.Description) { d.Outputs[1].Name = d.Outputs[0].Name }, "twice"},
		{"an output that is not there", func(c *backend.Config, _ *backend.Description) { c.Outputs = []string{"boxes"} }, `no output "boxes"`},
		{"an output of an unknown datatype", func(_ *backend.Config, d *backend.Description) { d.Outputs[0].Datatype = "BF16" }, "cannot be read"},
		{"an output without axes", func(_ *backend.Config, d *backend.Description) { d.Outputs[0].Shape = nil }, "no batch axis"},
		{"an output with a fixed batch", func(_ *backend.Config, d *backend.Description) { d.Outputs[1].Shape[0] = 1 }, "output first's batch axis is fixed at 1"},
		{"outputs that the decoder refuses", func(c *backend.Config, _ *backend.Description) {
			c.Accept = func([]media.TensorSpec) error { return errors.New("not my kind of outputs") }
		}, "not my kind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			configured := config()
			fake := backendtest.NewFake("dns:///triton:8001", configured)
			c.change(&configured, &fake.Serves)
			err := newModel(t, configured, fake).Check(t.Context())
			var mismatch *backend.Mismatch
			switch {
			case c.want == "" && !errors.As(err, &mismatch):
				return // whether the fake really answers in that form is not the question
			case !errors.As(err, &mismatch):
				t.Fatalf("Check = %v, want a mismatch", err)
			case c.want == "":
				t.Fatalf("Check = %v, want a fit", err)
			}
			if !strings.Contains(mismatch.Problem, c.want) {
				t.Errorf("problem = %q, want %q in it", mismatch.Problem, c.want)
			}
			if fake.Batches() != 0 {
				t.Error("a target that does not fit was given a batch")
			}
		})
	}
}

// TestMismatchShowsBothSides is what an operator reads at start.
func TestMismatchShowsBothSides(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("dns:///triton:8001", config())
	fake.Serves.Inputs[0].Shape = []int{-1, 3, 640, 640}
	err := newModel(t, config(), fake).Check(t.Context())
	want := `model m at dns:///triton:8001 does not fit the configuration: the input's shape is another
  configured: input FP32 [?,3,2,2], batches of 1 to 3
  served:     pictures FP32 [?,3,640,640] → checksum INT64 [?], first FP32 [?,1]`
	if err == nil || err.Error() != want {
		t.Errorf("Check =\n%v\nwant\n%s", err, want)
	}
}

// TestMismatchOfOneTarget lets the others work.
func TestMismatchOfOneTarget(t *testing.T) {
	t.Parallel()
	good, bad := backendtest.NewFake("good", config()), backendtest.NewFake("bad", config())
	bad.Serves.Inputs = nil
	m := newModel(t, config(), bad, good)
	if err := m.Check(t.Context()); err != nil {
		t.Errorf("Check = %v, want the good target to do", err)
	}
	good.Away.Store(true)
	var mismatch *backend.Mismatch
	if err := m.Check(t.Context()); !errors.As(err, &mismatch) {
		t.Errorf("Check = %v, want the mismatch first", err)
	}
}
