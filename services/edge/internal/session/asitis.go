package session

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/header"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// asItIs sends a unit's own bytes up, for the models that take them so: a tensor, a document, an upright JPEG. It gives the groups that want a
// picture converted. The bytes are shared by all frames that are made of them, and by the decoder, which only reads them; they are garbage
// once the last one is gone.
func (c *converter) asItIs(j job, groups []group) (rest []group) {
	whole := media.Frame{Payload: media.Payload{j.unit.Data}, Timings: media.Timings{Receive: j.ready.Sub(j.begun)}}
	for _, g := range groups {
		switch g.form.Kind {
		case media.KindTensor:
			c.verbatim(j, g, whole, g.form.Fits(len(j.unit.Data)))
		case media.KindDocument:
			c.verbatim(j, g, whole, utf8.Valid(j.unit.Data) && json.Valid(j.unit.Data)) // json leaves what is in strings alone
		case media.KindPicture:
			f, ok := c.file(j, g.form, whole)
			if !ok {
				rest = append(rest, g)
				continue
			}
			c.send(j, g, f)
		case media.KindSound:
			c.stream.fail(j.sequence, g.due, media.Internal) // sound has a runner of its own
		}
	}
	return rest
}

// verbatim sends bytes that no decoder looks at, if they are what their type says.
func (c *converter) verbatim(j job, g group, f media.Frame, valid bool) {
	switch {
	case !valid:
		c.stream.fail(j.sequence, g.due, media.DecoderError)
	case !g.form.Fits(f.Payload.Len()):
		c.stream.drop(j.sequence, g.due, media.TooLarge)
	default:
		c.send(j, g, f)
	}
}

// file makes a frame of a JPEG as it came, for an input that takes one. What the model would not see upright, or what the decoder has to judge
// because its header says too little or too much, goes the way of all pictures.
func (c *converter) file(j job, form media.Form, f media.Frame) (media.Frame, bool) {
	if form.Picture.Encoding != media.EncodedJPEG || j.unit.Codec != media.JPEG || !form.Fits(len(j.unit.Data)) {
		return f, false
	}
	info := header.Read(media.JPEG, j.unit.Data)
	if !info.Whole || info.Orientation != 1 || min(info.Width, info.Height) < 1 || info.Pixels > c.pixels || max(info.Width, info.Height) > ipc.MaxSide {
		return f, false
	}
	f.Placement = media.Placement{
		Width: float64(info.Width), Height: float64(info.Height), SourceWidth: info.Width, SourceHeight: info.Height,
	}
	return f, true
}
