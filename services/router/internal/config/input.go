package config

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

const maxSide = 8192

// The words of input.kind, and of input.encoding.
const (
	picture  = "picture"
	sound    = "sound"
	tensors  = "tensor"
	document = "document"
	jpeg     = "jpeg"
)

// Input says what a model takes. The words are the model's own documentation's.
type Input struct {
	Kind  string `yaml:"kind"` // picture, sound, tensor or document; empty means picture
	Name  string `yaml:"name"` // of the tensor; empty means the only one
	Dtype string `yaml:"dtype"`

	// Of pictures.
	Encoding string    `yaml:"encoding"` // jpeg, or empty for pixels
	Width    int       `yaml:"width"`
	Height   int       `yaml:"height"`
	Fit      string    `yaml:"fit"`
	Color    string    `yaml:"color"`
	Layout   string    `yaml:"layout"`
	Mean     []float64 `yaml:"mean"`   // empty means 0, 0, 0
	Scale    []float64 `yaml:"scale"`  // empty means 1, 1, 1
	Frames   string    `yaml:"frames"` // all or key

	// Of sound.
	Rate    int `yaml:"rate"`    // Hz
	Window  int `yaml:"window"`  // samples
	Hop     int `yaml:"hop"`     // samples; 0 means window
	Context int `yaml:"context"` // samples

	// Of tensors.
	Shape []int `yaml:"shape"` // without the batch axis
}

func kinds() map[string]media.Kind {
	return map[string]media.Kind{
		picture: media.KindPicture, sound: media.KindSound, tensors: media.KindTensor, document: media.KindDocument,
	}
}

func fits() map[string]media.Fit {
	return map[string]media.Fit{"letterbox": media.Letterbox, "stretch": media.Stretch, "crop": media.Crop}
}

func colors() map[string]media.Color {
	return map[string]media.Color{"RGB": media.RGB, "BGR": media.BGR}
}

// complete sets what was left out.
func (in *Input) complete() {
	if in.Kind == "" {
		in.Kind = picture
	}
	if in.Kind == picture && in.Frames == "" {
		in.Frames = "all"
	}
	switch {
	case in.Kind == sound && in.Hop == 0:
		in.Hop = in.Window
	case in.Kind == picture && in.Encoding != jpeg:
		if in.Mean == nil {
			in.Mean = []float64{0, 0, 0}
		}
		if in.Scale == nil {
			in.Scale = []float64{1, 1, 1}
		}
	}
}

// key is a key of an input that is meant for some kinds only.
type key struct {
	name string
	set  bool
	of   []string // the kinds; "jpeg" is a picture of that encoding
}

func (in *Input) keys() []key {
	pixels, pictures, windows := []string{picture}, []string{picture, jpeg}, []string{sound}
	return []key{
		{"dtype", in.Dtype != "", []string{picture, sound, tensors}},
		{"encoding", in.Encoding != "", pictures},
		{"width", in.Width != 0, pictures},
		{"height", in.Height != 0, pictures},
		{"frames", in.Frames != "", pictures},
		{"fit", in.Fit != "", pixels},
		{"color", in.Color != "", pixels},
		{"layout", in.Layout != "", pixels},
		{"mean", in.Mean != nil, pixels},
		{"scale", in.Scale != nil, pixels},
		{"rate", in.Rate != 0, windows},
		{"window", in.Window != 0, windows},
		{"hop", in.Hop != 0, windows},
		{"context", in.Context != 0, windows},
		{"shape", in.Shape != nil, []string{tensors}},
	}
}

// validate tells whether the input is valid.
func (in *Input) validate(wrong *complaints, key string) bool {
	before := len(*wrong)
	if _, known := kinds()[in.Kind]; !known {
		wrong.add(key+".kind", "%q is none of picture, sound, tensor, document", in.Kind)
		return false
	}
	what := in.Kind
	if in.Kind == picture && in.Encoding == jpeg {
		what = in.Encoding
	}
	for _, k := range in.keys() {
		if k.set && !slices.Contains(k.of, what) {
			wrong.add(key+"."+k.name, "an input of %s has none: leave it out", what)
		}
	}
	if in.Kind == picture && in.Frames != "all" && in.Frames != "key" {
		wrong.add(key+".frames", "%q is none of all, key", in.Frames)
	}
	switch what {
	case picture:
		in.validatePixels(wrong, key)
	case jpeg:
		wrong.upTo(key+".width", in.Width, maxSide)
		wrong.upTo(key+".height", in.Height, maxSide)
	case sound:
		in.validateSound(wrong, key)
	case tensors:
		if _, err := media.ShapeOf(in.Shape); err != nil {
			wrong.add(key+".shape", "%v; write the model's input without its batch axis: [1, 63]", err)
		}
		if media.Datatype(in.Dtype).Size() == 0 {
			wrong.add(key+".dtype", "%q is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64", in.Dtype)
		}
	}
	if len(*wrong) > before {
		return false
	}
	if err := in.Form().Check(); err != nil {
		wrong.add(key, "%v", err)
	} else if _, err := tensor.NewPacker(in.Tensor()); err != nil {
		wrong.add(key, "%v", err)
	}
	return len(*wrong) == before
}

func (in *Input) validatePixels(wrong *complaints, key string) {
	if in.Encoding != "" {
		wrong.add(key+".encoding", "%q is not jpeg: write that, or leave it out for pixels", in.Encoding)
	}
	wrong.upTo(key+".width", in.Width, maxSide)
	wrong.upTo(key+".height", in.Height, maxSide)
	if _, known := fits()[in.Fit]; !known {
		wrong.add(key+".fit", "%q is none of letterbox, stretch, crop", in.Fit)
	}
	if _, known := colors()[in.Color]; !known {
		wrong.add(key+".color", "%q is none of RGB, BGR", in.Color)
	}
	wrong.channels(key+".mean", in.Mean)
	wrong.channels(key+".scale", in.Scale)
}

func (in *Input) validateSound(wrong *complaints, key string) {
	if in.Rate < media.MinSoundRate || in.Rate > media.MaxSoundRate {
		wrong.add(key+".rate", "%d is not between %d and %d Hz", in.Rate, media.MinSoundRate, media.MaxSoundRate)
	}
	wrong.upTo(key+".window", in.Window, media.MaxSoundSamples)
	if in.Window > 0 && (in.Hop < 1 || in.Hop > in.Window) {
		wrong.add(key+".hop", "%d is not between 1 and the window of %d samples", in.Hop, in.Window)
	}
	if in.Context < 0 || in.Context > media.MaxSoundSamples-in.Window {
		wrong.add(key+".context", "%d is not between 0 and %d samples", in.Context, media.MaxSoundSamples-in.Window)
	}
	if d := media.Datatype(in.Dtype); d != media.FP32 && d != media.Int16 {
		wrong.add(key+".dtype", "%q is none of FP32 (from -1 to 1), INT16", in.Dtype)
	}
}

// Form gives the form of the frames that the edge sends. The input is valid.
func (in *Input) Form() media.Form {
	switch kinds()[in.Kind] {
	case media.KindSound:
		return media.SoundForm(in.Sound())
	case media.KindTensor:
		shape, _ := media.ShapeOf(in.Shape) // valid
		return media.TensorForm(media.TensorInput{Datatype: media.Datatype(in.Dtype), Shape: shape})
	case media.KindDocument:
		return media.DocumentForm()
	default:
		return media.PictureForm(in.picture())
	}
}

func (in *Input) picture() media.PictureInput {
	p := media.PictureInput{Width: in.Width, Height: in.Height, Fit: fits()[in.Fit], Color: colors()[in.Color]}
	if in.Encoding == jpeg {
		p.Encoding = media.EncodedJPEG
	}
	return p
}

// KeyOnly tells whether only key frames are wanted.
func (in *Input) KeyOnly() bool { return in.Frames == "key" }

// Sound gives the windows of a sound input; the zero value for others.
func (in *Input) Sound() media.SoundInput {
	return media.SoundInput{Rate: in.Rate, Window: in.Window, Hop: in.Hop, Context: in.Context}
}

// windowTime gives the time that a window takes.
func (in *Input) windowTime() time.Duration {
	return time.Duration(math.Ceil(float64(in.Window) * float64(time.Second) / float64(in.Rate)))
}

// files tells whether frames are texts or files, which only model servers take.
func (in *Input) files() bool { return in.Kind == document || in.Encoding == jpeg }

// Tensor says how the frames become the model's input tensor. The input is valid.
func (in *Input) Tensor() tensor.Input {
	switch {
	case in.Kind == sound:
		return tensor.Sound{Samples: in.Sound().Samples(), Datatype: media.Datatype(in.Dtype)}
	case in.Kind == tensors:
		return tensor.Raw{Datatype: media.Datatype(in.Dtype), Shape: in.Shape}
	case in.Kind == document:
		return tensor.Text{Limit: media.MaxEncoded}
	case in.Encoding == jpeg:
		return tensor.JPEG{Width: in.Width, Height: in.Height}
	default:
		return tensor.Picture{
			Width: in.Width, Height: in.Height, Layout: tensor.Layout(in.Layout), Datatype: media.Datatype(in.Dtype),
			Mean: [3]float64(in.Mean), Scale: [3]float64(in.Scale),
		}
	}
}

// State is a pair of tensors through which a recurrent model gets what it remembers of a stream, and gives it back.
type State struct {
	Input  string `yaml:"input"`
	Output string `yaml:"output"`
}

// Constant is an input of a model that is the same for every frame.
type Constant struct {
	Name  string  `yaml:"name"`
	Value float64 `yaml:"value"`
}

// validateBeside checks the model's other inputs.
func (m *Model) validateBeside(wrong *complaints, key string) {
	taken := map[string]string{}
	if m.Input.Name != "" {
		taken[m.Input.Name] = "input"
	}
	claim := func(key, name string) {
		switch other := taken[name]; {
		case name == "":
			wrong.add(key, "is empty: name the tensor")
		case other != "":
			wrong.add(key, "%q is the tensor of %s already", name, other)
		}
		taken[name] = key
	}
	if len(m.State) > 0 && m.Input.Kind != sound {
		wrong.add(key+".state", "only sound is sure to come whole and in order: a model of %s cannot keep state", m.Input.Kind)
	}
	outputs := map[string]bool{}
	for i, s := range m.State {
		key := fmt.Sprintf("%s.state[%d]", key, i)
		claim(key+".input", s.Input)
		if s.Output == "" || outputs[s.Output] || slices.Contains(m.Output.Tensors, s.Output) {
			wrong.add(key+".output", "%q must name an output of its own, which no result is made of", s.Output)
		}
		outputs[s.Output] = true
	}
	for i, c := range m.Constants {
		key := fmt.Sprintf("%s.constants[%d]", key, i)
		claim(key+".name", c.Name)
		if math.IsNaN(c.Value) || math.IsInf(c.Value, 0) {
			wrong.add(key+".value", "%g is no finite number", c.Value)
		}
	}
}
