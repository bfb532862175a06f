package detect

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/sluice-dev/sluice/pkg/media"
)

// documents reads JSON texts.
type documents struct{}

// maxJSON bounds the texts of one result together, in bytes: they travel to a browser in one message.
const maxJSON = 64 << 10

func (documents) accept(outputs []media.TensorSpec) error {
	for _, o := range outputs {
		if o.Datatype != media.Bytes || len(o.Shape) == 0 {
			return fmt.Errorf("output %s: JSON needs BYTES; name the outputs that are if there are others", o)
		}
	}
	return nil
}

func (documents) decode(outputs []media.RawTensor, _ media.Placement) (*media.Result, error) {
	result, total := &media.Result{}, 0
	for _, o := range outputs {
		if o.Datatype != media.Bytes {
			return nil, fmt.Errorf("output %q is of %s: JSON needs BYTES", o.Name, o.Datatype)
		}
		for rest := o.Data; len(rest) > 0; {
			text, after, ok := media.CutElement(rest)
			switch total += len(text); {
			case !ok:
				return nil, fmt.Errorf("output %q ends within a text", o.Name)
			case total > maxJSON:
				return nil, fmt.Errorf("output %q: more than %d bytes of text in a frame", o.Name, maxJSON)
			case !utf8.Valid(text) || !json.Valid(text):
				return nil, fmt.Errorf("output %q: text %d is no JSON", o.Name, len(result.JSON)+1)
			}
			result.JSON = append(result.JSON, string(text))
			rest = after
		}
	}
	return result, nil
}
