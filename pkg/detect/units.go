package detect

import (
	"errors"
	"fmt"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The words of Config.Coordinates.
const (
	pixelUnits      = "pixels"
	normalizedUnits = "normalized"
)

// units says what a model measures its boxes in: pixels of the picture that it gets, or fractions of it.
type units struct {
	normalized bool
	input      media.PictureInput
}

// newUnits reads a configuration; usual is the decoder's own word where none is given.
func newUnits(config Config, usual string) (units, error) {
	if config.Input.Width <= 0 || config.Input.Height <= 0 {
		return units{}, errors.New("boxes are places in a picture, and this model gets none")
	}
	u := units{input: config.Input}
	switch config.Coordinates {
	case "":
		u.normalized = usual == normalizedUnits
	case pixelUnits:
	case normalizedUnits:
		u.normalized = true
	default:
		return units{}, fmt.Errorf("coordinates %q: must be %s or %s", config.Coordinates, pixelUnits, normalizedUnits)
	}
	return u, nil
}

// scale gives the factors from the model's coordinates to pixels of the payload. A file is as large as the scaled source.
func (u units) scale(p media.Placement) (x, y float64) {
	switch {
	case !u.normalized:
		return 1, 1
	case u.input.Encoding != media.Pixels:
		return p.Width, p.Height
	default:
		return float64(u.input.Width), float64(u.input.Height)
	}
}
