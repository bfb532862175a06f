package backendtest

import (
	"bytes"
	_ "embed"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-dev/sluice/pkg/detect"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/onnx"
)

// FacesInput is the form in which the shipped configuration gives pictures to the embedded face detector.
func FacesInput() media.PictureInput {
	return media.PictureInput{Width: 384, Height: 224, Fit: media.Letterbox, Color: media.RGB}
}

// FacesDecoder makes the decoder of the embedded face detector, as the shipped configuration has it.
func FacesDecoder(tb testing.TB) *detect.Decoder {
	tb.Helper()
	decoder, err := detect.New(detect.Config{Decoder: "centerface", Input: FacesInput(), Threshold: 0.5})
	if err != nil {
		tb.Fatal(err)
	}
	return decoder
}

// FacesConfig describes the embedded face detector.
func FacesConfig(tb testing.TB, maxBatch int) backend.Config {
	tb.Helper()
	in := FacesInput()
	return backend.Config{
		Name:     "faces",
		Input:    tensor.Picture{Width: in.Width, Height: in.Height, Layout: tensor.NCHW, Datatype: media.FP32, Scale: [3]float64{1, 1, 1}},
		MaxBatch: maxBatch,
		Accept:   FacesDecoder(tb).Accept,
	}
}

// OpenFaces opens the embedded face detector on ONNX Runtime. The caller closes it.
func OpenFaces(tb testing.TB, threads int) backend.Driver {
	tb.Helper()
	driver, err := Runtime(tb).Open(onnx.Config{Path: Fetched(tb, "models/faces.onnx"), Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	return driver
}

// Runtime gives the test process's one ONNX Runtime. It is never closed.
func Runtime(tb testing.TB) *onnx.Runtime {
	tb.Helper()
	Fetched(tb, "onnxruntime/libonnxruntime.so")
	runtime, err := loadRuntime()
	if err != nil {
		tb.Fatal(err)
	}
	return runtime
}

var loadRuntime = sync.OnceValues(func() (*onnx.Runtime, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	return onnx.Load(filepath.Join(root, ".cache", "onnxruntime", "libonnxruntime.so"))
})

// Fetched gives the path of a file that `make models` fetches, named from .cache on. The test fails when it is not there.
func Fetched(tb testing.TB, name string) string {
	tb.Helper()
	root, err := repository()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(root, ".cache", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("%v: run `make models`, which fetches it", err)
	}
	return path
}

// repository finds the root of the working tree: the folder of go.work.
func repository() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.work")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", os.ErrNotExist
		}
		folder = parent
	}
}

//go:embed testdata/astronaut.jpg
var astronaut []byte

// AstronautFace is where the face of the picture of Astronaut is, by eye: from the hairline to the chin.
func AstronautFace() media.Box { return media.Box{X: 0.355, Y: 0.125, Width: 0.175, Height: 0.23} }

// Astronaut gives a picture of one face as the payload of an input, and where it lies there: Eileen Collins by NASA, in the public domain.
func Astronaut(tb testing.TB, in media.PictureInput) ([]byte, media.Placement) {
	tb.Helper()
	picture, err := jpeg.Decode(bytes.NewReader(astronaut))
	if err != nil {
		tb.Fatal(err)
	}
	return Fit(picture, in)
}

// Frames makes a batch of payloads of nobody's.
func Frames(payloads ...[]byte) []backend.Frame {
	frames := make([]backend.Frame, len(payloads))
	for i, p := range payloads {
		frames[i].Frame = &media.Frame{Payload: media.Payload{p}}
	}
	return frames
}

// Fit scales a picture into an input, by the mean of the source pixels that each payload pixel covers.
func Fit(picture image.Image, in media.PictureInput) ([]byte, media.Placement) {
	bounds := picture.Bounds()
	p := media.Place(in, bounds.Dx(), bounds.Dy())
	payload := make([]byte, in.Bytes())
	span := func(pixel int, from, size float64, source int) (int, int) {
		first := int((float64(pixel) - from) / size * float64(source))
		last := int((float64(pixel) + 1 - from) / size * float64(source))
		return min(first, source-1), max(min(last, source), first+1)
	}
	for y := range in.Height {
		for x := range in.Width {
			if float64(x) < p.X || float64(x) >= p.X+p.Width || float64(y) < p.Y || float64(y) >= p.Y+p.Height {
				continue // the bars are black
			}
			left, right := span(x, p.X, p.Width, bounds.Dx())
			top, bottom := span(y, p.Y, p.Height, bounds.Dy())
			pixel := mean(picture, image.Rect(left, top, right, bottom).Add(bounds.Min))
			if in.Color == media.BGR {
				pixel[0], pixel[2] = pixel[2], pixel[0]
			}
			copy(payload[(y*in.Width+x)*3:], pixel[:])
		}
	}
	return payload, p
}

func mean(picture image.Image, area image.Rectangle) [3]byte {
	var sum [3]uint32
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			sum[0], sum[1], sum[2] = sum[0]+r>>8, sum[1]+g>>8, sum[2]+b>>8
		}
	}
	n := uint32(area.Dx() * area.Dy())
	return [3]byte{byte((sum[0] + n/2) / n), byte((sum[1] + n/2) / n), byte((sum[2] + n/2) / n)}
}

// IoU gives the intersection over the union of two boxes.
func IoU(a, b media.Box) float64 {
	width := min(a.X+a.Width, b.X+b.Width) - max(a.X, b.X)
	height := min(a.Y+a.Height, b.Y+b.Height) - max(a.Y, b.Y)
	if width <= 0 || height <= 0 {
		return 0
	}
	return width * height / (a.Width*a.Height + b.Width*b.Height - width*height)
}
