package backend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// recurrent is the configuration of a fake with one state, INT32 [2,?,3], and one constant, INT64 without axes.
func recurrent() backend.Config {
	return backend.Config{
		Name: "m", Input: tensor.Sound{Samples: 6, Datatype: media.Int16}, MaxBatch: 3,
		States: []backend.StatePair{{Input: "h", Output: "hn"}}, Constants: []backend.Constant{{Name: "sr", Value: 16000}},
		Windows: media.SoundInput{Rate: 16000, Window: 6, Hop: 6},
	}
}

func TestMismatchOfStatesAndConstants(t *testing.T) {
	t.Parallel()
	const h, sr, hn = 1, 2, 2 // in the fake's inputs and outputs
	state := func(shape ...int) func(*backend.Config, *backend.Description) {
		return func(_ *backend.Config, d *backend.Description) { d.Inputs[h].Shape, d.Outputs[hn].Shape = shape, shape }
	}
	constant := func(v float64, datatype media.Datatype, shape ...int) func(*backend.Config, *backend.Description) {
		return func(c *backend.Config, d *backend.Description) {
			c.Constants[0].Value, d.Inputs[sr].Datatype, d.Inputs[sr].Shape = v, datatype, shape
		}
	}
	for _, c := range []struct {
		name   string
		change func(*backend.Config, *backend.Description)
		want   string // empty: it fits
	}{
		{"a fit", func(*backend.Config, *backend.Description) {}, ""},
		{"an output that leaves its extents open", func(_ *backend.Config, d *backend.Description) { d.Outputs[hn].Shape = []int{-1, -1, -1} }, ""},
		{"a state nobody knows", func(c *backend.Config, _ *backend.Description) { c.States[0].Input = "c" }, `no input "c"`},
		{"a state that does not come back", func(c *backend.Config, _ *backend.Description) { c.States[0].Output = "cn" }, `no output "cn"`},
		{"a state that comes back otherwise", func(_ *backend.Config, d *backend.Description) { d.Outputs[hn].Shape = []int{2, -1, 4} }, "comes out as"},
		{"a state that comes back as another type", func(_ *backend.Config, d *backend.Description) { d.Outputs[hn].Datatype = media.FP32 }, "comes out as"},
		{"a state that is read as well", func(c *backend.Config, _ *backend.Description) { c.Outputs = []string{"hn"} }, `no output "hn"`},
		{"a state of text", func(_ *backend.Config, d *backend.Description) { d.Inputs[h].Datatype = media.Bytes }, "cannot be kept"},
		{"a state with two free extents", state(-1, -1, 3), "exactly one extent"},
		{"a state without a free extent", state(2, 1, 3), "no extent of h INT32 [2,1,3] is free"},
		{"a state that is empty", state(0, -1, 3), "exactly one extent"},
		{"a state beyond memory", state(1<<20, -1, 1<<20), "at most"},
		{"a state beyond all numbers", state(math.MaxInt, -1, math.MaxInt), "at most"},
		{"an input that nobody gives", func(c *backend.Config, _ *backend.Description) { c.Constants = nil }, "takes 2 inputs beside"},
		{"an input that nobody gives, and where to name it", func(c *backend.Config, _ *backend.Description) { c.States = nil }, "under constants"},
		{"a constant nobody knows", func(c *backend.Config, _ *backend.Description) { c.Constants[0].Name = "rate" }, `no input "rate"`},
		{"a constant for each frame", constant(1, media.FP32, -1, 2), ""},
		{"a constant of unknown size", constant(1, media.FP32, -1, -1), "not known"},
		{"a constant beyond memory", constant(1, media.FP32, 1<<20, 1<<20), "more than"},
		{"a constant that is not whole", constant(0.5, media.Int64), "0.5 is no INT64"},
		{"a constant that is too large", constant(256, media.Uint8), "256 is no UINT8"},
		{"a constant that is too small", constant(-129, media.Int8), "-129 is no INT8"},
		{"a constant beyond a float", constant(1e39, media.FP32), "beyond FP32"},
		{"a constant of text", constant(1, media.Bytes), "BYTES"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			configured := recurrent()
			fake := backendtest.NewFake("a", configured)
			c.change(&configured, &fake.Serves)
			err := newModel(t, configured, fake).Check(t.Context())
			var mismatch *backend.Mismatch
			if fits := !errors.As(err, &mismatch); fits != (c.want == "") || !fits && !strings.Contains(mismatch.Problem, c.want) {
				t.Errorf("Check = %v, want a problem with %q", err, c.want)
			} else if !fits && !strings.HasPrefix(mismatch.Change, "state") && !strings.HasPrefix(mismatch.Change, "constants") &&
				mismatch.Change != "batch.max: 1" && mismatch.Change != "output.tensors" {
				t.Errorf("to change: %q", mismatch.Change)
			}
		})
	}
}

// TestMismatchShowsStates is what an operator reads at start about a recurrent model.
func TestMismatchShowsStates(t *testing.T) {
	t.Parallel()
	fake := backendtest.NewFake("a", recurrent())
	fake.Serves.Inputs[0].Datatype = media.FP32
	err := newModel(t, recurrent(), fake).Check(t.Context())
	want := `model m at a does not fit the configuration: the input's datatype is FP32
  configured: input INT16 [?,6], state h → hn, sr = 16000, batches of 1 to 3
  served:     pictures FP32 [?,6], h INT32 [2,?,3], sr INT64 [] → checksum INT64 [?], first INT16 [?,1], hn INT32 [2,?,3]
  to change:  input.dtype: FP32; or the model that is served`
	if err == nil || err.Error() != want {
		t.Errorf("Check =\n%v\nwant\n%s", err, want)
	}
}

// TestStateOfABatchOfOne is for models whose file fixes the batch at one: no extent is free then.
func TestStateOfABatchOfOne(t *testing.T) {
	t.Parallel()
	c := recurrent()
	c.MaxBatch = 1
	fake := backendtest.NewFake("a", c)
	fake.Serves.Inputs[1].Shape, fake.Serves.Outputs[2].Shape = []int{2, 1, 3}, []int{2, 1, 3}
	m := newModel(t, c, fake)
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := &backend.State{}
	var sums [][]byte
	for i := range uint32(2) {
		reply, err := m.Infer(t.Context(), 0, []backend.Frame{{Frame: &media.Frame{Payload: media.Payload{make([]byte, 12)}, FirstSample: i * 6}, State: state}})
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, bytes.Clone(reply.Frame(0)[0].Data))
		reply.Release()
	}
	if bytes.Equal(sums[0], sums[1]) {
		t.Error("the second window of the same samples has the same answer: nothing was remembered")
	}
}

// TestConstants looks at what a driver is given.
func TestConstants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value    float64
		datatype media.Datatype
		shape    []int
		want     []byte // for a batch of two
		sent     []int
	}{
		{16000, media.Int64, nil, binary.LittleEndian.AppendUint64(nil, 16000), nil},
		{-2, media.Int16, []int{1}, []byte{0xfe, 0xff}, []int{1}},
		{1, media.Bool, []int{2}, []byte{1, 1}, []int{2}},
		{0.5, media.FP32, []int{-1, 1}, []byte{0, 0, 0, 0x3f, 0, 0, 0, 0x3f}, []int{2, 1}},
		{0.5, media.FP64, []int{1, -1}, []byte{0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f}, []int{1, 2}},
		{1 << 53, media.Uint64, nil, binary.LittleEndian.AppendUint64(nil, 1<<53), nil},
	} {
		configured := recurrent()
		configured.Constants[0].Value = c.value
		fake := backendtest.NewFake("a", configured)
		fake.Serves.Inputs[2].Datatype, fake.Serves.Inputs[2].Shape = c.datatype, c.shape
		see := &inputsOf{Driver: fake}
		m := newModel(t, configured, see)
		if err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		reply, err := m.Infer(t.Context(), 0, sized(12, 12))
		if err != nil {
			t.Fatal(err)
		}
		reply.Release()
		if !bytes.Equal(see.constant.Data, c.want) || !slices.Equal(see.constant.Shape, c.sent) || see.constant.Datatype != c.datatype {
			t.Errorf("%g as %s %v: sent %+v, want % x of %v", c.value, c.datatype, c.shape, see.constant, c.want, c.sent)
		}
	}
}

// inputsOf is a driver that keeps the last constant.
type inputsOf struct {
	backend.Driver
	constant media.RawTensor
}

func (i *inputsOf) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	i.constant, _ = backendtest.Tensor(request.Inputs, "sr")
	i.constant.Data, i.constant.Shape = bytes.Clone(i.constant.Data), slices.Clone(i.constant.Shape)
	return i.Driver.Infer(ctx, request)
}

// BenchmarkBatch is the cost of two streams' windows around the driver: gathered, checked and remembered.
func BenchmarkBatch(b *testing.B) {
	configured := recurrent()
	still := &canned{Driver: backendtest.NewFake("a", configured)}
	m, err := backend.New(configured, still)
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Check(b.Context()); err != nil {
		b.Fatal(err)
	}
	batch := sized(12, 12)
	batch[0].State, batch[1].State = &backend.State{}, &backend.State{}
	b.ReportAllocs()
	for b.Loop() {
		reply, err := m.Infer(b.Context(), 0, batch)
		if err != nil {
			b.Fatal(err)
		}
		reply.Release()
		still.answer = true
	}
}

// canned is a driver that can answer as before, without a copy.
type canned struct {
	backend.Driver
	answer bool
	output backend.Output
}

func (c *canned) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	if c.answer {
		return c.output, nil
	}
	var err error
	c.output, err = c.Driver.Infer(ctx, request)
	return c.output, err
}
