package wire

import (
	"fmt"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// InputToProto translates an input.
func InputToProto(in media.Input) *sluicev1.Input {
	m := &sluicev1.Input{Id: new(in.ID)}
	if in.Window > 0 {
		m.Window = new(uint32(in.Window))
	}
	switch in.Kind {
	case media.KindPicture:
		m.Kind = &sluicev1.Input_Picture{Picture: pictureToProto(in.Picture)}
	case media.KindSound:
		m.Kind = &sluicev1.Input_Sound{Sound: &sluicev1.SoundInput{
			Rate: new(uint32(in.Sound.Rate)), Window: new(uint32(in.Sound.Window)),
			Hop: new(uint32(in.Sound.Hop)), Context: new(uint32(in.Sound.Context)),
		}}
	case media.KindTensor:
		t := &sluicev1.TensorInput{Datatype: new(string(in.Tensor.Datatype))}
		for _, extent := range in.Tensor.Shape.Extents() {
			t.Shape = append(t.Shape, uint32(extent))
		}
		m.Kind = &sluicev1.Input_Tensor{Tensor: t}
	case media.KindDocument:
		m.Kind = &sluicev1.Input_Document{Document: &sluicev1.DocumentInput{}}
	}
	return m
}

func pictureToProto(p media.PictureInput) *sluicev1.PictureInput {
	m := &sluicev1.PictureInput{Width: new(uint32(p.Width)), Height: new(uint32(p.Height))}
	if p.Encoding == media.EncodedJPEG {
		m.Encoding = sluicev1.PictureInput_JPEG.Enum()
		return m
	}
	m.Fit, m.Color = sluicev1.PictureInput_Fit(p.Fit).Enum(), sluicev1.PictureInput_Color(p.Color).Enum()
	return m
}

// InputFromProto translates an input. One of an unknown kind, form or size is malformed.
func InputFromProto(m *sluicev1.Input) (media.Input, error) {
	in := media.Input{ID: m.GetId(), Window: int(min(m.GetWindow(), math.MaxInt32))}
	switch kind := m.GetKind().(type) {
	case *sluicev1.Input_Picture:
		p := kind.Picture
		in.Form = media.PictureForm(media.PictureInput{
			Width: extent(p.GetWidth()), Height: extent(p.GetHeight()), Encoding: media.Encoding(narrow(p.GetEncoding())),
			Fit: media.Fit(narrow(p.GetFit())), Color: media.Color(narrow(p.GetColor())),
		})
	case *sluicev1.Input_Sound:
		s := kind.Sound
		in.Form = media.SoundForm(media.SoundInput{
			Rate: extent(s.GetRate()), Window: extent(s.GetWindow()), Hop: extent(s.GetHop()), Context: extent(s.GetContext()),
		})
	case *sluicev1.Input_Tensor:
		shape := make([]int, len(kind.Tensor.GetShape()))
		for i, n := range kind.Tensor.GetShape() {
			shape[i] = extent(n)
		}
		known, err := media.ShapeOf(shape)
		if err != nil {
			return media.Input{}, fmt.Errorf("%w: input %d: %w", ErrMalformed, in.ID, err)
		}
		in.Form = media.TensorForm(media.TensorInput{Datatype: media.Datatype(kind.Tensor.GetDatatype()), Shape: known})
	case *sluicev1.Input_Document:
		in.Form = media.DocumentForm()
	}
	if err := in.Check(); err != nil {
		return media.Input{}, fmt.Errorf("%w: input %d is no form that is known here: %w", ErrMalformed, in.ID, err)
	}
	return in, nil
}

// extent reads a number so that one beyond every limit stays beyond it where int has 32 bits.
func extent(n uint32) int { return int(min(n, math.MaxInt32)) }
