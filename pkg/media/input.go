package media

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says what a stream carries and an input takes.
type Kind uint8

// The kinds.
const (
	KindPicture Kind = iota + 1
	KindSound
	KindTensor
	KindDocument
)

var kindNames = [...]string{"unknown", "picture", "sound", "tensor", "document"}

// String gives the kind as people write it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// Fit says how a source of another aspect ratio fills an input.
type Fit uint8

// The ways of fitting; see PictureInput.
const (
	Letterbox Fit = iota + 1
	Stretch
	Crop
)

// Color is the order of the channels of a pixel in memory.
type Color uint8

// The orders.
const (
	RGB Color = iota + 1
	BGR
)

// Encoding says what a picture's payload is.
type Encoding uint8

// The encodings.
const (
	// Pixels are what PictureInput describes.
	Pixels Encoding = iota
	// EncodedJPEG is a JPEG file, upright: the client's own as it came, or the source scaled down, if it is larger, to fit the input's width and
	// height with its aspect ratio kept. Fit and Color are zero.
	EncodedJPEG
)

const (
	// MaxEncoded bounds a payload whose size is not fixed, in bytes: what the contract allows a message.
	MaxEncoded = 4 << 20
	// MaxSoundSamples bounds a window with its context: half a minute at 48 kHz.
	MaxSoundSamples = 30 * 48000
	// MaxTensorRank bounds the extents of a tensor.
	MaxTensorRank = 8
	// MinSoundRate is the lowest rate that sound is converted to, in Hz.
	MinSoundRate = 4000
	// MaxSoundRate is the highest rate that sound is converted to, in Hz.
	MaxSoundRate = 48000

	maxPictureSide = 8192
)

// PictureInput is the form in which a model takes pictures: Height*Width*3 bytes, rows from the top without padding, 8 bits a channel,
// channels interleaved; or a file, see Encoding. It is comparable: models with equal inputs share a frame.
type PictureInput struct {
	Width, Height int // pixels
	Fit           Fit
	Color         Color
	Encoding      Encoding
}

// Bytes gives the size of a payload in this form; for a file, the size of its pixels, which bounds what a converter writes.
func (p PictureInput) Bytes() int { return p.Width * p.Height * 3 }

func (p PictureInput) check() error {
	switch {
	case p.Width < 1 || p.Height < 1 || p.Width > maxPictureSide || p.Height > maxPictureSide:
		return fmt.Errorf("a picture of %d×%d pixels", p.Width, p.Height)
	case p.Encoding == EncodedJPEG && p.Fit == 0 && p.Color == 0:
		return nil
	case p.Encoding != Pixels:
		return fmt.Errorf("a picture of encoding %d, fit %d, colour order %d", p.Encoding, p.Fit, p.Color)
	case p.Fit < Letterbox || p.Fit > Crop || p.Color < RGB || p.Color > BGR:
		return fmt.Errorf("a picture of fit %d, colour order %d", p.Fit, p.Color)
	}
	return nil
}

// SoundInput is the form in which a model takes sound: windows of Context+Window samples, 16-bit little-endian, one channel. Window n of a
// stream's timeline covers the samples from n*Hop to n*Hop+Window; the Context samples before it come first, zeros where the timeline has
// not begun.
type SoundInput struct {
	Rate    int // samples a second
	Window  int // samples
	Hop     int // samples, at most Window
	Context int // samples
}

// Samples gives the number of samples in a payload.
func (s SoundInput) Samples() int { return s.Context + s.Window }

func (s SoundInput) check() error {
	switch {
	case s.Rate < MinSoundRate || s.Rate > MaxSoundRate:
		return fmt.Errorf("sound at %d Hz", s.Rate)
	case s.Window < 1 || s.Hop < 1 || s.Hop > s.Window || s.Context < 0:
		return fmt.Errorf("sound in windows of %d samples with %d before, every %d", s.Window, s.Context, s.Hop)
	case s.Window > MaxSoundSamples || s.Context > MaxSoundSamples || s.Samples() > MaxSoundSamples:
		return fmt.Errorf("sound in windows of %d samples with %d before: more than %d", s.Window, s.Context, MaxSoundSamples)
	}
	return nil
}

// Shape is a tensor's extents, outermost first, in the form "1,63". It is comparable.
type Shape string

// ParseShape reads extents that are joined by commas; each is at least 1. Spaces are allowed.
func ParseShape(text string) (Shape, error) {
	var extents []int
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil {
			return "", fmt.Errorf("shape %q: %q is no number", text, strings.TrimSpace(field))
		}
		extents = append(extents, n)
	}
	return ShapeOf(extents)
}

// ShapeOf makes a shape of extents, each at least 1, at most MaxTensorRank of them, at most MaxEncoded elements in all.
func ShapeOf(extents []int) (Shape, error) {
	if len(extents) == 0 || len(extents) > MaxTensorRank {
		return "", fmt.Errorf("shape %v has %d extents: from 1 to %d are possible", extents, len(extents), MaxTensorRank)
	}
	texts, elements := make([]string, len(extents)), 1
	for i, n := range extents {
		if n < 1 || n > MaxEncoded/elements {
			return "", fmt.Errorf("shape %v: every extent must be at least 1, and all elements at most %d", extents, MaxEncoded)
		}
		elements *= n
		texts[i] = strconv.Itoa(n)
	}
	return Shape(strings.Join(texts, ",")), nil
}

// Extents gives the shape's numbers.
func (s Shape) Extents() []int {
	var extents []int
	for field := range strings.SplitSeq(string(s), ",") {
		n, _ := strconv.Atoi(field) // shapes are made by ParseShape and ShapeOf
		extents = append(extents, n)
	}
	return extents
}

// Elements gives the number of elements.
func (s Shape) Elements() int {
	n := 1
	for _, extent := range s.Extents() {
		n *= extent
	}
	return n
}

// TensorInput is the form in which a model takes tensors: the elements in row-major order, little endian, without padding. The model's batch
// axis is not part of the shape.
type TensorInput struct {
	Datatype Datatype
	Shape    Shape
}

// Bytes gives the size of a payload.
func (t TensorInput) Bytes() int { return t.Datatype.Size() * t.Shape.Elements() }

func (t TensorInput) check() error {
	shape, err := ParseShape(string(t.Shape))
	switch {
	case err != nil:
		return err
	case shape != t.Shape:
		return fmt.Errorf("shape %q is not in its own form, %q", t.Shape, shape)
	case t.Datatype.Size() == 0:
		return fmt.Errorf("a tensor of datatype %q", t.Datatype)
	case t.Bytes() > MaxEncoded:
		return fmt.Errorf("a tensor of %d bytes: more than %d", t.Bytes(), MaxEncoded)
	}
	return nil
}

// Form is the form in which a model takes its input: the field that Kind names is set, none for Document, whose payload is one JSON text. It
// is comparable: models with equal forms share a frame.
type Form struct {
	Kind    Kind
	Picture PictureInput
	Sound   SoundInput
	Tensor  TensorInput
}

// PictureForm makes the form of a picture.
func PictureForm(p PictureInput) Form { return Form{Kind: KindPicture, Picture: p} }

// SoundForm makes the form of sound.
func SoundForm(s SoundInput) Form { return Form{Kind: KindSound, Sound: s} }

// TensorForm makes the form of a tensor.
func TensorForm(t TensorInput) Form { return Form{Kind: KindTensor, Tensor: t} }

// DocumentForm makes the form of a JSON text.
func DocumentForm() Form { return Form{Kind: KindDocument} }

// Check tells what is wrong with the form, if anything: an unknown kind, a field of another kind that is set, a size beyond the limits.
func (f Form) Check() error {
	bare := Form{Kind: f.Kind}
	var err error
	switch f.Kind {
	case KindPicture:
		bare.Picture, err = f.Picture, f.Picture.check()
	case KindSound:
		bare.Sound, err = f.Sound, f.Sound.check()
	case KindTensor:
		bare.Tensor, err = f.Tensor, f.Tensor.check()
	case KindDocument:
	default:
		return fmt.Errorf("an input of unknown kind %d", f.Kind)
	}
	if err == nil && f != bare {
		err = fmt.Errorf("an input of kind %s that is described as another kind too", f.Kind)
	}
	return err
}

// Bytes gives the size of the largest payload in this form.
func (f Form) Bytes() int {
	switch {
	case f.Kind == KindPicture && f.Picture.Encoding == Pixels:
		return f.Picture.Bytes()
	case f.Kind == KindSound:
		return 2 * f.Sound.Samples()
	case f.Kind == KindTensor:
		return f.Tensor.Bytes()
	default:
		return MaxEncoded
	}
}

// Fits tells whether a payload of n bytes can be of this form.
func (f Form) Fits(n int) bool {
	if f.Kind == KindDocument || f.Kind == KindPicture && f.Picture.Encoding != Pixels {
		return n >= 1 && n <= f.Bytes()
	}
	return n == f.Bytes()
}

// Input is a form of frames with the id that a router gave it on one call.
type Input struct {
	ID uint32
	Form
	// Window is the number of frames of a stream that may be outstanding: sent, and not all of their outcomes received. Zero means what the
	// call says for all its inputs.
	Window int
}
