package backend_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
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
		key    string // to change; empty: none
	}{
		{"a fit", func(*backend.Config, *backend.Description) {}, "", ""},
		{"free sides", input(func(s *media.TensorSpec) { s.Shape = []int{-1, 3, -1, -1} }), "", ""},
		{"a batch of one, and no more wanted", func(c *backend.Config, d *backend.Description) {
			c.MaxBatch, d.Inputs[0].Shape[0], d.Outputs[0].Shape[0] = 1, 1, 1
		}, "", ""},
		{"a part of the outputs", func(c *backend.Config, _ *backend.Description) { c.Outputs = []string{"first"} }, "", ""},
		{"an output of an unknown datatype that nobody wants", func(c *backend.Config, d *backend.Description) {
			c.Outputs, d.Outputs[0].Datatype = []string{"first"}, "BF16"
		}, "", ""},
		{"the name as configured", func(c *backend.Config, _ *backend.Description) { c.InputName = "pictures" }, "", ""},
		{"another name", func(c *backend.Config, _ *backend.Description) { c.InputName = "images" }, `no input "images"`, "input.name: pictures"},
		{"another size", input(func(s *media.TensorSpec) { s.Shape[3] = 4 }), "shape is another", "input.width: 4"},
		{"another layout", input(func(s *media.TensorSpec) { s.Shape = []int{-1, 2, 2, 3} }), "shape is another", "input.layout: NHWC"},
		{"another size in another layout", input(func(s *media.TensorSpec) { s.Shape = []int{-1, 640, 480, 3} }), "shape is another",
			"input.layout: NHWC, input.height: 640, input.width: 480"},
		{"texts", input(func(s *media.TensorSpec) { s.Datatype = media.Bytes }), "datatype is BYTES", "input.kind, or input.encoding: jpeg"},
		{"no axes at all", input(func(s *media.TensorSpec) { s.Shape = nil }), "shape is another", ""},
		{"no batch axis", input(func(s *media.TensorSpec) { s.Shape = s.Shape[1:] }), "shape is another", "input.kind"},
		{"another datatype", input(func(s *media.TensorSpec) { s.Datatype = media.Uint8 }), "datatype is UINT8", "input.dtype: UINT8"},
		{"a fixed batch", input(func(s *media.TensorSpec) { s.Shape[0] = 10 }), "fixed at 10, and batches are of 1 to 3", ""},
		{"no inputs", func(_ *backend.Config, d *backend.Description) { d.Inputs = nil }, "takes 0 inputs", ""},
		{"two inputs", func(_ *backend.Config, d *backend.Description) { d.Inputs = append(d.Inputs, d.Inputs[0]) }, "takes 2 inputs", "constants, state"},
		{"no outputs", func(_ *backend.Config, d *backend.Description) { d.Outputs = nil }, "no outputs", ""},
		{"an output twice", func(_ *backend.Config, d *backend.Description) { d.Outputs[1].Name = d.Outputs[0].Name }, "twice", ""},
		{"an output that is not there", func(c *backend.Config, _ *backend.Description) { c.Outputs = []string{"boxes"} }, `no output "boxes"`, "output.tensors"},
		{"an output of an unknown datatype", func(_ *backend.Config, d *backend.Description) { d.Outputs[0].Datatype = "BF16" }, "cannot be read", "output.tensors"},
		{"an output without axes", func(_ *backend.Config, d *backend.Description) { d.Outputs[0].Shape = nil }, "no batch axis", "output.tensors"},
		{"an output with a fixed batch", func(_ *backend.Config, d *backend.Description) { d.Outputs[1].Shape[0] = 1 }, "output first's batch axis is fixed at 1", "batch.max: 1"},
		{"outputs that the decoder refuses", func(c *backend.Config, _ *backend.Description) {
			c.Accept = func([]media.TensorSpec) error { return errors.New("not my kind of outputs") }
		}, "not my kind", "output"},
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
			if mismatch.Change != c.key {
				t.Errorf("to change: %q, want %q", mismatch.Change, c.key)
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
  served:     pictures FP32 [?,3,640,640] → checksum INT64 [?], first FP32 [?,1]
  to change:  input.height: 640, input.width: 640; or the model that is served`
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

// TestMismatchOfOtherInputs says what to change of windows of sound, tensors and texts.
func TestMismatchOfOtherInputs(t *testing.T) {
	t.Parallel()
	sound, raw := tensor.Sound{Samples: 512, Datatype: media.FP32}, tensor.Raw{Datatype: media.FP32, Shape: []int{1, 63}}
	for _, c := range []struct {
		name     string
		input    tensor.Input
		datatype media.Datatype
		shape    []int
		want     string
	}{
		{"a longer window", sound, media.FP32, []int{-1, 576}, "input.window and input.context: 576 samples together"},
		{"a longer window of one channel", sound, media.FP32, []int{-1, 1, 576}, "input.window and input.context: 576 samples together"},
		{"two channels", sound, media.FP32, []int{-1, 2, 512}, "input.kind"},
		{"integers", sound, media.Int16, []int{-1, 512}, "input.dtype: INT16"},
		{"another tensor", raw, media.FP32, []int{-1, 3, 21}, "input.shape: [3, 21]"},
		{"a tensor without a size", raw, media.FP32, []int{-1, -1, 21}, "input.shape"},
		{"other elements", raw, media.Int8, []int{-1, 1, 63}, "input.dtype: INT8"},
		{"no text", tensor.Text{Limit: 9}, media.FP32, []int{-1, 1}, "input.kind"},
		{"two texts", tensor.Text{Limit: 9}, media.Bytes, []int{-1, 2}, ""},
		{"no file", tensor.JPEG{Width: 8, Height: 8}, media.Uint8, []int{-1, 8, 8, 3}, "input.encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			configured := config()
			configured.Input = c.input
			fake := backendtest.NewFake("a", configured)
			fake.Serves.Inputs[0].Datatype, fake.Serves.Inputs[0].Shape = c.datatype, c.shape
			var mismatch *backend.Mismatch
			if err := newModel(t, configured, fake).Check(t.Context()); !errors.As(err, &mismatch) || mismatch.Change != c.want {
				t.Errorf("Check = %v, want to change %q", err, c.want)
			}
		})
	}
}
