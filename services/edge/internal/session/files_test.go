package session

import (
	"bytes"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"image/png"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// poster draws a picture that is red on its left half and blue on its right.
func poster(width, height int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetNRGBA(x, y, color.NRGBA{255, 0, 0, 255})
			if x >= width/2 {
				m.SetNRGBA(x, y, color.NRGBA{0, 0, 255, 255})
			}
		}
	}
	return m
}

// What is no upright JPEG reaches a model that takes files as one all the same, through the real decoder process, while another model gets
// the pixels of the same message.
func TestModelsThatTakeFilesGetJPEGsOfEveryPicture(t *testing.T) {
	program := buildDecoder(t)
	frames := make(chan *sluicev1.Frame, 10)
	router := &echo{
		models: []media.Model{{Name: "faces", InputID: 1, Deadline: 10 * time.Second}, {Name: "files", InputID: 2, Deadline: 10 * time.Second}},
		inputs: []media.Input{
			{ID: 1, Form: faces().Inputs[0].Form},
			{ID: 2, Form: media.PictureForm(media.PictureInput{Width: 320, Height: 240, Encoding: media.EncodedJPEG})},
		},
		got: func(f *sluicev1.Frame) { frames <- f },
	}
	r := newRigTo(t, router, func(d *Deps) {
		d.NewDecoder = func() (Decoder, error) {
			return decoder.New(decoder.Config{Path: program, Timeout: 10 * time.Second, SlotBytes: 2 << 20})
		}
	})
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("pictures", "") })
	opened(t, d)
	routed(t, c)
	var drawn, photo bytes.Buffer
	if err := png.Encode(&drawn, poster(640, 360)); err != nil {
		t.Fatal(err)
	}
	if err := stdjpeg.Encode(&photo, poster(640, 360), nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name          string
		message       []byte
		width, height int // of the file that the model gets
		upright       bool
		untouched     bool
	}{
		{"PNG", drawn.Bytes(), 320, 180, true, false},
		{"upright", photo.Bytes(), 640, 360, true, true},
		{"turned", turned(photo.Bytes()), 135, 240, false, false},
	} {
		send(t, d, step.message)
		for range 2 {
			f := wait(t, frames, "frame")
			if o := outcome(t, got); o.Outcome.Result == nil {
				t.Errorf("%s: %s", step.name, told(o))
			}
			if f.GetDue()[0].GetModel() == "faces" {
				if len(f.GetPayload()) != 32*32*3 {
					t.Errorf("%s: %d bytes of pixels", step.name, len(f.GetPayload()))
				}
				continue
			}
			m, err := stdjpeg.Decode(bytes.NewReader(f.GetPayload()))
			if err != nil {
				t.Fatalf("%s: what the model gets is no JPEG: %v", step.name, err)
			}
			size := m.Bounds().Size()
			if size != image.Pt(step.width, step.height) || bytes.Equal(f.GetPayload(), step.message) != step.untouched {
				t.Errorf("%s: the model gets %v, untouched %v", step.name, size, bytes.Equal(f.GetPayload(), step.message))
			}
			if p := f.GetPlacement(); p.GetWidth() != float64(size.X) || p.GetHeight() != float64(size.Y) || p.GetX() != 0 || p.GetY() != 0 {
				t.Errorf("%s: placed at %v", step.name, p)
			}
			// Turned by a quarter, left becomes top.
			red, _, blue, _ := m.At(size.X-2, 2).RGBA()
			if isBlue := blue > red; isBlue != step.upright {
				t.Errorf("%s: its upper right corner is blue: %v", step.name, isBlue)
			}
		}
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}
