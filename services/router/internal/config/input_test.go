package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

// serving is a configuration of one model on a server, with an input and what comes after it.
func serving(input, rest string) string {
	return `
models:
  - name: m
    backend: {oip: {targets: ["dns:///a:1"], correlate: true}}
    input: {` + input + `}
    output: {decoder: tensors}
` + rest
}

const (
	soundInput = "kind: sound, rate: 16000, window: 512, dtype: FP32, name: input"
	jpegInput  = "encoding: jpeg, width: 640, height: 360"
	shapeInput = "kind: tensor, dtype: INT64, shape: [2, 63]"
)

func TestInputs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		input  string
		form   media.Form
		tensor tensor.Input
	}{
		{
			"width: 4, height: 2, fit: crop, color: BGR, layout: NHWC, dtype: UINT8",
			media.PictureForm(media.PictureInput{Width: 4, Height: 2, Fit: media.Crop, Color: media.BGR}),
			tensor.Picture{Width: 4, Height: 2, Layout: tensor.NHWC, Datatype: media.Uint8, Scale: [3]float64{1, 1, 1}},
		},
		{
			jpegInput, media.PictureForm(media.PictureInput{Width: 640, Height: 360, Encoding: media.EncodedJPEG}), tensor.JPEG{Width: 640, Height: 360},
		},
		{
			soundInput, media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 512}), tensor.Sound{Samples: 512, Datatype: media.FP32},
		},
		{
			"kind: sound, rate: 48000, window: 1000, hop: 10, context: 7, dtype: INT16",
			media.SoundForm(media.SoundInput{Rate: 48000, Window: 1000, Hop: 10, Context: 7}), tensor.Sound{Samples: 1007, Datatype: media.Int16},
		},
		{
			shapeInput, media.TensorForm(media.TensorInput{Datatype: media.Int64, Shape: "2,63"}), tensor.Raw{Datatype: media.Int64, Shape: []int{2, 63}},
		},
		{"kind: document", media.DocumentForm(), tensor.Text{Limit: media.MaxEncoded}},
	} {
		got, err := loadText(t, serving(c.input, ""))
		if err != nil {
			t.Errorf("%s: %v", c.input, err)
			continue
		}
		m := got.Models[0]
		if form := m.Input.Form(); form != c.form {
			t.Errorf("%s: form %+v, want %+v", c.input, form, c.form)
		}
		if in := m.Input.Tensor(); !reflect.DeepEqual(in, c.tensor) {
			t.Errorf("%s: tensor %+v, want %+v", c.input, in, c.tensor)
		}
		if !m.Backend.OIP.Correlate {
			t.Errorf("%s: correlate was not read", c.input)
		}
	}
}

// TestRefusesInputs writes each mistake into a good configuration: the error names the key and says what to write.
func TestRefusesInputs(t *testing.T) {
	t.Parallel()
	stateful := serving(soundInput, "    state: [{input: h, output: hn}]\n    constants: [{name: sr, value: 16000}]\n")
	if _, err := loadText(t, stateful); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ good, old, new, key, advice string }{
		"kind":                       {serving(soundInput, ""), "kind: sound", "kind: video", "input.kind", "picture, sound, tensor, document"},
		"a key of another kind":      {serving(soundInput, ""), "rate: 16000", "rate: 16000, width: 4", "input.width", "leave it out"},
		"a picture's rate":           {serving(jpegInput, ""), "width: 640", "width: 640, rate: 8000", "input.rate", "leave it out"},
		"a file's layout":            {serving(jpegInput, ""), "width: 640", "width: 640, layout: NCHW", "input.layout", "jpeg has none"},
		"a document's type":          {serving("kind: document", ""), "kind: document", "kind: document, dtype: BYTES", "input.dtype", "leave it out"},
		"encoding":                   {serving(jpegInput, ""), "encoding: jpeg", "encoding: png", "input.encoding", "not jpeg"},
		"no height of a file":        {serving(jpegInput, ""), "height: 360", "height: 0", "input.height", "between 1"},
		"a rate too low":             {serving(soundInput, ""), "rate: 16000", "rate: 16", "input.rate", "Hz"},
		"a rate too high":            {serving(soundInput, ""), "rate: 16000", "rate: 96000", "input.rate", "48000"},
		"no window":                  {serving(soundInput, ""), "window: 512", "window: 0", "input.window", "between 1"},
		"a hop beyond the window":    {serving(soundInput, ""), "window: 512", "window: 512, hop: 513", "input.hop", "the window of 512"},
		"a negative hop":             {serving(soundInput, ""), "window: 512", "window: 512, hop: -1", "input.hop", "between 1"},
		"a context without end":      {serving(soundInput, ""), "window: 512", "window: 512, context: 99999999", "input.context", "between 0"},
		"a datatype of sound":        {serving(soundInput, ""), "dtype: FP32", "dtype: UINT8", "input.dtype", "FP32"},
		"no shape":                   {serving(shapeInput, ""), ", shape: [2, 63]", "", "input.shape", "[1, 63]"},
		"a free extent":              {serving(shapeInput, ""), "[2, 63]", "[-1, 63]", "input.shape", "at least 1"},
		"a tensor beyond a message":  {serving(shapeInput, ""), "[2, 63]", "[1024, 1024]", "input", "bytes"},
		"a datatype of tensors":      {serving(shapeInput, ""), "dtype: INT64", "dtype: BYTES", "input.dtype", "FP16, FP32"},
		"files on ONNX":              {serving(jpegInput, ""), `oip: {targets: ["dns:///a:1"], correlate: true}`, "onnx: {path: m.onnx}", "input", "oip backend"},
		"texts on ONNX":              {serving("kind: document", ""), `oip: {targets: ["dns:///a:1"], correlate: true}`, "onnx: {path: m.onnx}", "input", "oip backend"},
		"a rate of windows":          {serving(soundInput, "    rate: 10\n"), "", "", "rate", "input.hop"},
		"no time beside the window":  {serving(soundInput, "    deadline: 32ms\n"), "", "", "deadline", "no time left"},
		"a line without end":         {serving(soundInput, "    deadline: 1m\n"), "window: 512", "window: 512, hop: 1", "input.hop", "make the hop longer"},
		"state of pictures":          {stateful, soundInput, jpegInput, "state", "only sound"},
		"state of no input":          {stateful, "input: h,", `input: "",`, "state[0].input", "name the tensor"},
		"state in the sound's place": {stateful, "input: h,", "input: input,", "state[0].input", "already"},
		"state of no output":         {stateful, "output: hn", `output: ""`, "state[0].output", "of its own"},
		"state twice":                {stateful, "{input: h, output: hn}", "{input: h, output: hn}, {input: c, output: hn}", "state[1].output", "of its own"},
		"state as a result":          {stateful, "decoder: tensors", "decoder: tensors, tensors: [hn]", "state[0].output", "no result"},
		"a constant in its place":    {stateful, "name: sr", "name: h", "constants[0].name", "already"},
		"a constant without name":    {stateful, "name: sr, ", "", "constants[0].name", "name the tensor"},
		"a constant that is none":    {stateful, "value: 16000", "value: .inf", "constants[0].value", "finite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(c.good, c.old, c.new, 1)
			if text == c.good && c.old != "" {
				t.Fatal("the mistake is not in the text")
			}
			_, err := loadText(t, text)
			if key := "models[0] (m)." + c.key + ": "; !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), c.advice) {
				t.Errorf("error %v, want one about %q that says %q", err, key, c.advice)
			}
		})
	}
}
