package detect

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

func square(side int) media.PictureInput {
	return media.PictureInput{Width: side, Height: side, Fit: media.Letterbox, Color: media.RGB}
}

func TestYOLOAccepts(t *testing.T) {
	t.Parallel()
	jpeg := media.PictureInput{Width: 640, Height: 640, Encoding: media.EncodedJPEG}
	for _, c := range []struct {
		name     string
		config   Config
		datatype media.Datatype
		shape    []int
		want     string // empty: accepted
	}{
		{"v5", Config{Input: square(640)}, media.FP32, []int{-1, 25200, 85}, ""},
		{"v5 with a fourth stride", Config{Input: square(1280)}, media.FP16, []int{1, 102000, 6}, ""},
		{"v5, the tiny one", Config{Input: square(416)}, media.FP32, []int{-1, 2535, 85}, ""},
		{"v5 of one class is no v10", Config{Input: square(640), Labels: []string{"a"}}, media.FP32, []int{-1, 25200, 6}, ""},
		{"v5 of free extents", Config{Input: square(640), Version: "v5"}, media.FP32, []int{-1, -1, -1}, ""},
		{"v8", Config{Input: square(640)}, media.FP32, []int{-1, 84, 8400}, ""},
		{"v8 with a finer stride", Config{Input: square(640)}, media.FP32, []int{-1, 84, 34000}, ""},
		{"v8 of two classes", Config{Input: square(640), Labels: []string{"a", "b"}}, media.FP32, []int{-1, 6, 8400}, ""},
		{"v8 with labels for others", Config{Input: square(640), Labels: []string{"a", "b", "c"}}, media.FP32, []int{-1, 6, 8400}, "3 labels for 2 classes"},
		{"v8 of a wide picture", Config{Input: media.PictureInput{Width: 640, Height: 384}}, media.FP32, []int{-1, 84, 5040}, ""},
		{"v8 of free boxes", Config{Input: square(640), Version: "v8"}, media.FP32, []int{-1, 84, -1}, ""},
		{"v8 of another picture", Config{Input: square(320)}, media.FP32, []int{-1, 84, 8400}, "output out FP32 [?,84,8400]: its shape does not tell which YOLO this is, for an input of 320×320"},
		{"v10", Config{Input: square(640)}, media.FP32, []int{-1, 300, 6}, ""},
		{"v10 with another shape", Config{Input: square(640), Version: "v10"}, media.FP32, []int{-1, 84, 8400}, "[?,boxes,6]"},
		{"one box a cell", Config{Input: square(640)}, media.FP32, []int{-1, 8400, 85}, "set the version"},
		{"one box a cell, of one class", Config{Input: square(640)}, media.FP32, []int{-1, 8400, 6}, "set the version"},
		{"one box a cell, as v5", Config{Input: square(640), Version: "v5"}, media.FP32, []int{-1, 8400, 85}, ""},
		{"yolox", Config{Input: square(416), Version: "yolox"}, media.FP32, []int{1, 3549, 6}, ""},
		{"yolox with a fourth stride", Config{Input: square(640), Version: "yolox"}, media.FP32, []int{1, 8500, 85}, ""},
		{"yolox of another picture", Config{Input: square(640), Version: "yolox"}, media.FP32, []int{1, 3549, 6}, "640×640 has 8400 cells, or 8500"},
		{"free extents", Config{Input: square(640)}, media.FP32, []int{-1, -1, -1}, "set the version to the one of [?,boxes,5+classes] (v5)"},
		{"files", Config{Input: jpeg}, media.FP32, []int{-1, 84, 8400}, "set the version"},
		{"files, with the version", Config{Input: jpeg, Version: "v8", Coordinates: "normalized"}, media.FP32, []int{-1, 84, 8400}, ""},
		{"no class", Config{Input: square(640), Version: "v5"}, media.FP32, []int{-1, 25200, 5}, "1 to 65536 classes"},
		{"integers", Config{Input: square(640)}, media.Int32, []int{-1, 84, 8400}, "yolo needs floats of [?,boxes,5+classes] (v5), [?,4+classes,boxes] (v8), [?,boxes,6] (v10)"},
		{"an axis more", Config{Input: square(640), Version: "v8"}, media.FP32, []int{-1, 84, 80, 80}, "yolo needs floats of [?,4+classes,boxes]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.config.Decoder = "yolo"
			err := mustNew(t, c.config).Accept([]media.TensorSpec{{Name: "out", Datatype: c.datatype, Shape: c.shape}})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Accept = %v, want %q", err, c.want)
			}
		})
	}
	two := []media.TensorSpec{{Name: "output0", Datatype: media.FP32, Shape: []int{-1, 116, 8400}}, {Name: "output1", Datatype: media.FP32, Shape: []int{-1, 32, 160, 160}}}
	if err := mustNew(t, Config{Decoder: "yolo", Input: square(640)}).Accept(two); err == nil || !strings.Contains(err.Error(), "name it") {
		t.Errorf("two outputs: %v", err)
	}
}

// box is an object in pixels of the payload, by its corners.
type box struct {
	class                    int
	score                    float64
	left, top, right, bottom float64
}

// makeHead makes a head of so many boxes that finds the given ones, each at the place of three times its own number. The others hold nothing.
func makeHead(version string, boxes, classes int, found ...box) media.RawTensor {
	shape := map[string][]int{"v5": {boxes, 5 + classes}, "v8": {4 + classes, boxes}, "v10": {boxes, 6}}[version]
	t := media.RawTensor{Name: "output0", Datatype: media.FP32, Shape: shape, Data: make([]byte, 4*elements(shape))}
	set := func(at int, v float64) { binary.LittleEndian.PutUint32(t.Data[4*at:], math.Float32bits(float32(v))) }
	for i, b := range found {
		numbers := []float64{(b.left + b.right) / 2, (b.top + b.bottom) / 2, b.right - b.left, b.bottom - b.top}
		classScores := make([]float64, classes)
		if b.class < classes {
			classScores[b.class] = b.score
		}
		for j, v := range append(append(numbers, map[string][]float64{"v5": {1}}[version]...), classScores...) {
			switch version {
			case "v5":
				set(i*3*shape[1]+j, v)
			case "v8":
				set(j*boxes+i*3, v)
			}
		}
		if version == "v10" {
			for j, v := range []float64{b.left, b.top, b.right, b.bottom, b.score, float64(b.class)} {
				set(i*3*shape[1]+j, v)
			}
		}
	}
	return t
}

// TestYOLOUndoesPlacement puts an object at a known place of a source and looks for it there, through every way of fitting and every head, in both units.
func TestYOLOUndoesPlacement(t *testing.T) {
	t.Parallel()
	want := media.Box{X: 0.4, Y: 0.45, Width: 0.2, Height: 0.15}
	for _, fit := range []media.Fit{media.Letterbox, media.Stretch, media.Crop} {
		for _, source := range [][2]int{{1280, 720}, {720, 1280}, {1000, 333}, {64, 64}} {
			for _, version := range []string{"v5", "v8", "v10"} {
				for _, units := range []string{"pixels", "normalized"} {
					name := fmt.Sprintf("fit %d of %d×%d, %s, %s", fit, source[0], source[1], version, units)
					in := media.PictureInput{Width: 320, Height: 256, Fit: fit}
					p := media.Place(in, source[0], source[1])
					found := box{1, 0.75, p.X + want.X*p.Width, p.Y + want.Y*p.Height, p.X + (want.X+want.Width)*p.Width, p.Y + (want.Y+want.Height)*p.Height}
					if units == "normalized" {
						found.left, found.right, found.top, found.bottom = found.left/320, found.right/320, found.top/256, found.bottom/256
					}
					d := mustNew(t, Config{Decoder: "yolo", Version: version, Input: in, Threshold: 0.5, Coordinates: units, Labels: []string{"cat", "dog"}})
					result, err := d.Decode([]media.RawTensor{makeHead(version, 1680, 2, found)}, p)
					if err != nil || len(result.Detections) != 1 {
						t.Fatalf("%s: Decode = %+v, %v; want one dog", name, result, err)
					}
					checkAt(t, name, result.Detections[0], want)
				}
			}
		}
	}
}

func checkAt(t *testing.T, name string, got media.Detection, want media.Box) {
	t.Helper()
	const tolerance = 2e-6 // float32 holds positions to about 1e-7 of their size
	for _, off := range []float64{got.Box.X - want.X, got.Box.Y - want.Y, got.Box.Width - want.Width, got.Box.Height - want.Height, got.Score - 0.75} {
		if !(math.Abs(off) <= tolerance) || got.Label != "dog" {
			t.Errorf("%s: %+v, want a dog at %+v with 0.75", name, got, want)
			return
		}
	}
}

func TestYOLOOfFiles(t *testing.T) {
	t.Parallel()
	in := media.PictureInput{Width: 640, Height: 640, Encoding: media.EncodedJPEG}
	p := media.Place(in, 1280, 720) // a file of 640×360
	d := mustNew(t, Config{Decoder: "yolo", Version: "v10", Input: in, Threshold: 0.5, Coordinates: "normalized", Labels: []string{"cat", "dog"}})
	result, err := d.Decode([]media.RawTensor{makeHead("v10", 300, 0, box{1, 0.75, 0.25, 0.5, 0.5, 0.75})}, p)
	if err != nil || len(result.Detections) != 1 {
		t.Fatalf("Decode = %+v, %v", result, err)
	}
	checkAt(t, "a file", result.Detections[0], media.Box{X: 0.25, Y: 0.5, Width: 0.25, Height: 0.25})
}

func TestYOLOChooses(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	in := media.PictureInput{Width: 64, Height: 64, Fit: media.Stretch}
	bars := media.Place(media.PictureInput{Width: 64, Height: 64, Fit: media.Letterbox}, 200, 100)
	plain := media.Place(in, 100, 100)
	for _, c := range []struct {
		name   string
		place  media.Placement
		found  []box
		scores []float64
	}{
		{"nothing", plain, nil, nil},
		{"at the threshold and below", plain, []box{{0, 0.5, 1, 1, 9, 9}, {0, 0.4999, 20, 20, 30, 30}}, []float64{0.5}},
		{"best first", plain, []box{{0, 0.625, 1, 1, 9, 9}, {1, 0.75, 20, 20, 30, 30}}, []float64{0.75, 0.625}},
		{"one object twice", plain, []box{{0, 0.625, 1, 1, 9, 9}, {0, 0.75, 2, 1, 10, 9}}, []float64{0.75}},
		{"two classes at one place", plain, []box{{0, 0.625, 1, 1, 9, 9}, {1, 0.75, 2, 1, 10, 9}}, []float64{0.75, 0.625}},
		{"beside the picture", bars, []box{{0, 0.75, 10, 1, 20, 10}}, nil},
		{"half beside the picture", bars, []box{{0, 0.75, 10, 1, 20, 30}}, []float64{0.75}},
		{"beyond the payload", plain, []box{{0, 0.75, -50, -50, 500, 500}}, []float64{0.75}},
		{"a score above one", plain, []box{{0, 7, 1, 1, 9, 9}}, []float64{1}},
		{"an infinite score", plain, []box{{0, inf, 1, 1, 9, 9}}, []float64{1}},
		{"a score that is none", plain, []box{{0, nan, 1, 1, 9, 9}}, nil},
		{"empty", plain, []box{{0, 0.75, 5, 5, 5, 9}}, nil},
		{"inside out", plain, []box{{0, 0.75, 9, 9, 1, 1}}, nil},
		{"nowhere", plain, []box{{0, 0.75, nan, 1, 9, 9}, {0, 0.75, 1, inf, 9, inf}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, version := range []string{"v5", "v8", "v10"} {
				if version == "v10" && c.name == "one object twice" {
					continue // it has not to see to that
				}
				d := mustNew(t, Config{Decoder: "yolo", Version: version, Input: in, Threshold: 0.5})
				result, err := d.Decode([]media.RawTensor{makeHead(version, 84, 2, c.found...)}, c.place)
				if err != nil || len(result.Detections) != len(c.scores) {
					t.Errorf("%s: Decode = %+v, %v; want scores %v", version, result, err, c.scores)
					continue
				}
				for i, got := range result.Detections {
					checkDetection(t, got)
					if math.Abs(got.Score-c.scores[i]) > 1e-6 {
						t.Errorf("%s: score %d = %g, want %g", version, i, got.Score, c.scores[i])
					}
				}
			}
		})
	}
}

// TestYOLOIsBounded decodes what a model gone mad says: as many objects as there are boxes, none overlapping, the best last.
func TestYOLOIsBounded(t *testing.T) {
	t.Parallel()
	in := media.PictureInput{Width: 640, Height: 640, Fit: media.Stretch}
	var found []box
	for i := range 2800 {
		x, y := float64(i%60)*10, float64(i/60)*10
		found = append(found, box{0, 0.5 + float64(i)/10000, x, y, x + 8, y + 8})
	}
	for _, version := range []string{"v5", "v8", "v10"} {
		d := mustNew(t, Config{Decoder: "yolo", Version: version, Input: in, Threshold: 0})
		result, err := d.Decode([]media.RawTensor{makeHead(version, 8400, 2, found...)}, media.Place(in, 640, 640))
		if err != nil || len(result.Detections) != maxDetections {
			t.Fatalf("%s: %d detections, %v; want %d", version, len(result.Detections), err, maxDetections)
		}
		for i, got := range result.Detections {
			if want := found[len(found)-1-i].score; math.Abs(got.Score-want) > 1e-6 {
				t.Fatalf("%s: score %d = %g, want %g: not the best ones", version, i, got.Score, want)
			}
		}
	}
}

func TestYOLORefusesClassesThatAreNone(t *testing.T) {
	t.Parallel()
	d := mustNew(t, Config{Decoder: "yolo", Version: "v10", Input: square(64), Threshold: 0.5})
	for _, class := range []float32{-1, 0.5, 1 << 16, float32(math.NaN()), float32(math.Inf(1))} {
		result, err := d.Decode([]media.RawTensor{fp32("o", []int{1, 6}, 1, 1, 9, 9, 0.9, class)}, media.Place(square(64), 64, 64))
		if err != nil || len(result.Detections) != 0 {
			t.Errorf("class %g: %+v, %v; want nothing", class, result, err)
		}
	}
}

// TestYOLOOfEveryDatatype reads the same head in three widths.
func TestYOLOOfEveryDatatype(t *testing.T) {
	t.Parallel()
	single := makeHead("v8", 84, 2, box{1, 0.75, 16, 8, 32, 24})
	half, double := single, single
	half.Datatype, half.Data = media.FP16, nil
	double.Datatype, double.Data = media.FP64, nil
	for i := range elements(single.Shape) {
		v := value(single, i)
		double.Data = binary.LittleEndian.AppendUint64(double.Data, math.Float64bits(v))
		bits := uint16(0)
		if v != 0 { // these numbers are exact in 16 bits
			fraction, exponent := math.Frexp(v)
			bits = uint16(exponent-1+15)<<10 | uint16((fraction*2-1)*1024)
		}
		half.Data = binary.LittleEndian.AppendUint16(half.Data, bits)
	}
	d := mustNew(t, Config{Decoder: "yolo", Version: "v8", Input: square(64), Threshold: 0.5, Labels: []string{"cat", "dog"}})
	for _, o := range []media.RawTensor{single, half, double} {
		result, err := d.Decode([]media.RawTensor{o}, media.Place(square(64), 64, 64))
		if err != nil || len(result.Detections) != 1 {
			t.Fatalf("%s: %+v, %v", o.Datatype, result, err)
		}
		checkAt(t, string(o.Datatype), result.Detections[0], media.Box{X: 0.25, Y: 0.125, Width: 0.25, Height: 0.25})
	}
}

func FuzzYOLO(f *testing.F) {
	versions := []string{"v5", "v8", "v10", "yolox"}
	shapes := [][]int{{63, 7}, {6, 21}, {20, 6}, {21, 7}}
	var decoders []*Decoder
	for i, version := range versions {
		d, err := New(Config{Decoder: "yolo", Version: version, Input: square(32), Threshold: 0.1})
		if err != nil {
			f.Fatal(err)
		}
		decoders = append(decoders, d)
		f.Add(make([]byte, 4*elements(shapes[i])), uint8(i), uint16(1), uint16(1))
		if version != "yolox" {
			f.Add(makeHead(version, max(shapes[i][0], 21), 2, box{1, 0.9, 4, 4, 20, 20}, box{0, 0.8, 1, 1, 9, 9}).Data, uint8(i), uint16(64), uint16(48))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8, width, height uint16) {
		i := int(which) % len(versions)
		o := media.RawTensor{Name: "o", Datatype: media.FP32, Shape: shapes[i], Data: make([]byte, 4*elements(shapes[i]))}
		copy(o.Data, data)
		result, err := decoders[i].Decode([]media.RawTensor{o}, media.Place(square(32), int(width)+1, int(height)+1))
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Detections) > maxDetections {
			t.Errorf("%d detections", len(result.Detections))
		}
		for _, d := range result.Detections {
			checkDetection(t, d)
		}
	})
}

func BenchmarkYOLO(b *testing.B) {
	in := square(640)
	placement := media.Place(in, 1280, 720)
	var found []box
	for i := range 60 { // a street: 60 boxes of 20 objects
		x, y := float64(i/3%5)*120, 150+float64(i/15)*80
		found = append(found, box{i / 3 % 7, 0.5 + float64(i)/200, x + float64(i%3), y, x + 60, y + 60})
	}
	for _, c := range []struct {
		version string
		boxes   int
	}{{"v5", 25200}, {"v8", 8400}, {"v10", 300}} {
		b.Run(c.version, func(b *testing.B) {
			d, err := New(Config{Decoder: "yolo", Version: c.version, Input: in, Threshold: 0.25})
			if err != nil {
				b.Fatal(err)
			}
			outputs := []media.RawTensor{makeHead(c.version, c.boxes, 80, found...)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Decode(outputs, placement); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
