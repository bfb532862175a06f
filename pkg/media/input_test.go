package media

import (
	"slices"
	"testing"
)

func TestForms(t *testing.T) {
	t.Parallel()
	pixels := PictureInput{Width: 4, Height: 2, Fit: Crop, Color: BGR}
	sound := SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64}
	tensor := TensorInput{Datatype: FP32, Shape: "1,63"}
	for _, c := range []struct {
		name       string
		form       Form
		fits, less int // numbers of bytes that can be a payload and that cannot
	}{
		{"pixels", PictureForm(pixels), 24, 23},
		{"files", PictureForm(PictureInput{Width: 4, Height: 2, Encoding: EncodedJPEG}), MaxEncoded, 0},
		{"sound", SoundForm(sound), 2 * 576, 2 * 512},
		{"tensor", TensorForm(tensor), 252, 63},
		{"document", DocumentForm(), 2, 0},
	} {
		if err := c.form.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.form.Fits(c.fits) || c.form.Fits(c.less) || c.form.Fits(MaxEncoded+1) {
			t.Errorf("%s: fits %d bytes: %v, %d bytes: %v", c.name, c.fits, c.form.Fits(c.fits), c.less, c.form.Fits(c.less))
		}
	}
	for name, form := range map[string]Form{
		"no kind":            {},
		"unknown kind":       {Kind: KindDocument + 1},
		"two kinds":          {Kind: KindPicture, Picture: pixels, Sound: sound},
		"no width":           PictureForm(PictureInput{Height: 2, Fit: Crop, Color: BGR}),
		"fitted file":        PictureForm(PictureInput{Width: 4, Height: 2, Fit: Crop, Color: BGR, Encoding: EncodedJPEG}),
		"unknown encoding":   PictureForm(PictureInput{Width: 4, Height: 2, Fit: Crop, Color: BGR, Encoding: EncodedJPEG + 1}),
		"slow sound":         SoundForm(SoundInput{Rate: 3999, Window: 1, Hop: 1}),
		"fast sound":         SoundForm(SoundInput{Rate: 48001, Window: 1, Hop: 1}),
		"no window":          SoundForm(SoundInput{Rate: 16000, Hop: 1}),
		"no hop":             SoundForm(SoundInput{Rate: 16000, Window: 1}),
		"hop over the rest":  SoundForm(SoundInput{Rate: 16000, Window: 1, Hop: 2}),
		"endless window":     SoundForm(SoundInput{Rate: 16000, Window: MaxSoundSamples, Hop: 1, Context: 1}),
		"overflowing window": SoundForm(SoundInput{Rate: 16000, Window: 1 << 62, Hop: 1, Context: 1 << 62}),
		"no shape":           TensorForm(TensorInput{Datatype: FP32}),
		"shape with spaces":  TensorForm(TensorInput{Datatype: FP32, Shape: "1, 63"}),
		"unknown datatype":   TensorForm(TensorInput{Datatype: "BYTES", Shape: "1"}),
		"large tensor":       TensorForm(TensorInput{Datatype: FP64, Shape: "4194304"}),
	} {
		if form.Check() == nil {
			t.Errorf("%s: %+v was accepted", name, form)
		}
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	s, err := ParseShape(" 1, 3,224 ,224")
	if err != nil || s != "1,3,224,224" || s.Elements() != 3*224*224 || !slices.Equal(s.Extents(), []int{1, 3, 224, 224}) {
		t.Errorf("got %q with %d elements, %v", s, s.Elements(), err)
	}
	for _, text := range []string{"", ",", "0", "-1", "1,x", "1,1,1,1,1,1,1,1,1", "4194305", "65536,65536,65536,65536", "1.5"} {
		if s, err := ParseShape(text); err == nil {
			t.Errorf("ParseShape(%q) = %q", text, s)
		}
	}
}
