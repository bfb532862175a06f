package detect

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// maps are CenterFace's outputs for one frame, to be written face by face.
type maps struct {
	rows, columns int
	out           []media.RawTensor
}

func newMaps(in media.PictureInput) *maps {
	m := &maps{rows: in.Height / centerFaceStride, columns: in.Width / centerFaceStride}
	for i, channels := range centerFaceChannels() {
		shape := []int{channels, m.rows, m.columns}
		m.out = append(m.out, fp32(string(rune('a'+i)), shape, make([]float32, elements(shape))...))
	}
	return m
}

func (m *maps) set(output, channel, row, column int, v float64) {
	at := 4 * ((channel*m.rows+row)*m.columns + column)
	binary.LittleEndian.PutUint32(m.out[output].Data[at:], math.Float32bits(float32(v)))
}

// face writes a face with its centre at (x, y) and the given sides, all in payload pixels. Its landmarks lie at tenths of the box.
func (m *maps) face(heat, x, y, width, height float64) {
	column, row := int(x/centerFaceStride), int(y/centerFaceStride)
	m.set(heatMap, 0, row, column, heat)
	m.set(sizes, 0, row, column, math.Log(height/centerFaceStride))
	m.set(sizes, 1, row, column, math.Log(width/centerFaceStride))
	m.set(offsets, 0, row, column, y/centerFaceStride-float64(row)-0.5)
	m.set(offsets, 1, row, column, x/centerFaceStride-float64(column)-0.5)
	for i := range centerFaceMarks {
		m.set(landmarks, 2*i, row, column, float64(i)/10)
		m.set(landmarks, 2*i+1, row, column, float64(2*i)/10)
	}
}

// TestCenterFaceUndoesPlacement puts a face at a known place of a source and looks for it there, through every way of fitting.
func TestCenterFaceUndoesPlacement(t *testing.T) {
	t.Parallel()
	want := media.Box{X: 0.4, Y: 0.45, Width: 0.2, Height: 0.15}
	for _, c := range []struct {
		name          string
		fit           media.Fit
		width, height int
	}{
		{"letterbox with bars above and below", media.Letterbox, 1280, 720},
		{"letterbox with bars at the sides", media.Letterbox, 720, 1280},
		{"letterbox with an odd rest", media.Letterbox, 1000, 333},
		{"letterbox that enlarges", media.Letterbox, 160, 90},
		{"stretch", media.Stretch, 640, 480},
		{"crop at the sides", media.Crop, 1280, 720},
		{"crop above and below", media.Crop, 720, 1280},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := media.PictureInput{Width: 320, Height: 256, Fit: c.fit, Color: media.RGB}
			p := media.Place(in, c.width, c.height)
			m := newMaps(in)
			m.face(0.9, p.X+(want.X+want.Width/2)*p.Width, p.Y+(want.Y+want.Height/2)*p.Height, want.Width*p.Width, want.Height*p.Height)
			result, err := mustNew(t, Config{Decoder: "centerface", Input: in, Threshold: 0.5}).Decode(m.out, p)
			if err != nil || len(result.Detections) != 1 {
				t.Fatalf("Decode = %+v, %v; want one face", result, err)
			}
			got := result.Detections[0]
			// float32 holds positions to about 1e-7 of their size; everything else is exact.
			const tolerance = 1e-6
			if math.Abs(got.Box.X-want.X) > tolerance || math.Abs(got.Box.Y-want.Y) > tolerance ||
				math.Abs(got.Box.Width-want.Width) > tolerance || math.Abs(got.Box.Height-want.Height) > tolerance {
				t.Errorf("box = %+v, want %+v", got.Box, want)
			}
			if got.Label != "face" || math.Abs(got.Score-0.9) > tolerance || len(got.Landmarks) != centerFaceMarks {
				t.Errorf("detection = %+v", got)
			}
			for i, mark := range got.Landmarks {
				x, y := want.X+want.Width*float64(2*i)/10, want.Y+want.Height*float64(i)/10
				if math.Abs(mark.X-x) > tolerance || math.Abs(mark.Y-y) > tolerance {
					t.Errorf("landmark %d = %+v, want (%g, %g)", i, mark, x, y)
				}
			}
		})
	}
}

func TestCenterFaceChooses(t *testing.T) {
	t.Parallel()
	in := media.PictureInput{Width: 128, Height: 64, Fit: media.Stretch}
	bars := media.Place(media.PictureInput{Width: 128, Height: 64, Fit: media.Letterbox}, 100, 100)
	for _, c := range []struct {
		name   string
		place  media.Placement
		write  func(*maps)
		scores []float64
	}{
		{"nothing", media.Place(in, 100, 100), func(*maps) {}, nil},
		{"below the threshold", media.Place(in, 100, 100), func(m *maps) { m.face(0.49, 30, 30, 20, 20) }, nil},
		{"best first", media.Place(in, 100, 100), func(m *maps) {
			m.face(0.6, 30, 30, 20, 20)
			m.face(0.8, 90, 30, 20, 20)
		}, []float64{0.8, 0.6}},
		{"one face found in two cells", media.Place(in, 100, 100), func(m *maps) {
			m.face(0.7, 30, 30, 20, 20)
			m.face(0.8, 34, 30, 20, 20)
		}, []float64{0.8}},
		{"two that touch a little", media.Place(in, 100, 100), func(m *maps) {
			m.face(0.7, 30, 30, 20, 20)
			m.face(0.8, 44, 30, 20, 20)
		}, []float64{0.8, 0.7}},
		{"a score above one", media.Place(in, 100, 100), func(m *maps) { m.face(3, 30, 30, 20, 20) }, []float64{1}},
		{"in the bar beside the picture", bars, func(m *maps) { m.face(0.9, 10, 30, 10, 10) }, nil},
		{"no size", media.Place(in, 100, 100), func(m *maps) { m.face(0.9, 30, 30, 0, 0) }, nil},
		{"a size beyond numbers", media.Place(in, 100, 100), func(m *maps) {
			m.face(0.9, 30, 30, 20, 20)
			m.set(sizes, 0, 7, 7, 3e38)
			m.set(sizes, 1, 7, 7, 3e38)
		}, []float64{0.9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMaps(in)
			c.write(m)
			result, err := mustNew(t, Config{Decoder: "centerface", Input: in, Threshold: 0.5}).Decode(m.out, c.place)
			if err != nil || len(result.Detections) != len(c.scores) {
				t.Fatalf("Decode = %+v, %v; want scores %v", result, err, c.scores)
			}
			for i, want := range c.scores {
				if got := result.Detections[i]; math.Abs(got.Score-want) > 1e-6 {
					t.Errorf("score %d = %v, want %v", i, got.Score, want)
				}
				checkDetection(t, result.Detections[i])
			}
		})
	}
}

func checkDetection(t *testing.T, d media.Detection) {
	t.Helper()
	inside := func(v float64) bool { return v >= 0 && v <= 1 }
	b := d.Box
	// The far edge is a sum, whose rounding may pass 1 by a little.
	if !inside(d.Score) || !inside(b.X) || !inside(b.Y) || b.Width <= 0 || b.Height <= 0 || b.X+b.Width > 1+1e-12 || b.Y+b.Height > 1+1e-12 {
		t.Errorf("detection outside its bounds: %+v", d)
	}
	for _, mark := range d.Landmarks {
		if !inside(mark.X) || !inside(mark.Y) {
			t.Errorf("landmark outside the picture: %+v", mark)
		}
	}
}

// TestCenterFaceIsBounded decodes what a model gone mad says: a face in every cell, none overlapping.
func TestCenterFaceIsBounded(t *testing.T) {
	t.Parallel()
	in := media.PictureInput{Width: 320, Height: 256, Fit: media.Stretch}
	m := newMaps(in)
	for row := range m.rows {
		for column := range m.columns {
			m.face(0.9, float64(column*4+2), float64(row*4+2), 2, 2)
		}
	}
	result, err := mustNew(t, Config{Decoder: "centerface", Input: in, Threshold: 0.5}).Decode(m.out, media.Place(in, 640, 480))
	if err != nil || len(result.Detections) != maxDetections {
		t.Errorf("Decode gave %d detections, %v; want %d", len(result.Detections), err, maxDetections)
	}
}

func FuzzCenterFace(f *testing.F) {
	in := media.PictureInput{Width: 32, Height: 32, Fit: media.Letterbox}
	m := newMaps(in)
	m.face(0.9, 16, 16, 8, 8)
	seed := []byte{}
	for _, o := range m.out {
		seed = append(seed, o.Data...)
	}
	f.Add(seed, uint16(64), uint16(48))
	f.Add(make([]byte, len(seed)), uint16(1), uint16(1))
	decoder, err := New(Config{Decoder: "centerface", Input: in, Threshold: 0.1})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, width, height uint16) {
		outputs := newMaps(in).out
		for i := range outputs {
			data = data[copy(outputs[i].Data, data):]
		}
		result, err := decoder.Decode(outputs, media.Place(in, int(width)+1, int(height)+1))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range result.Detections {
			checkDetection(t, d)
		}
	})
}

func BenchmarkCenterFace(b *testing.B) {
	in := media.PictureInput{Width: 384, Height: 224, Fit: media.Letterbox}
	m := newMaps(in)
	for i := range 10 {
		m.face(0.9, 20+float64(i)*36, 100, 20, 30)
	}
	decoder, err := New(Config{Decoder: "centerface", Input: in, Threshold: 0.5})
	if err != nil {
		b.Fatal(err)
	}
	placement := media.Place(in, 1280, 720)
	for b.Loop() {
		if _, err := decoder.Decode(m.out, placement); err != nil {
			b.Fatal(err)
		}
	}
}
