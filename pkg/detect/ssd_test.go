package detect

import (
	"math"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

func spec(name string, datatype media.Datatype, shape ...int) media.TensorSpec {
	return media.TensorSpec{Name: name, Datatype: datatype, Shape: shape}
}

func TestSSDAccepts(t *testing.T) {
	t.Parallel()
	const f = media.FP32
	tensorFlow := []media.TensorSpec{
		spec("detection_anchor_indices", f, -1, 100), spec("detection_boxes", f, -1, 100, 4), spec("detection_classes", f, -1, 100),
		spec("detection_multiclass_scores", f, -1, 100, 91), spec("detection_scores", f, -1, 100), spec("num_detections", f, -1),
		spec("raw_detection_boxes", f, -1, 1917, 4), spec("raw_detection_scores", f, -1, 1917, 91),
	}
	for _, c := range []struct {
		name    string
		config  Config
		outputs []media.TensorSpec
		want    string // empty: accepted
	}{
		{"TensorFlow", Config{}, tensorFlow, ""},
		{"TensorFlow's raw boxes", Config{Outputs: []string{"raw_detection_boxes", "raw_detection_scores"}}, tensorFlow, ""},
		{"TensorFlow Lite", Config{}, []media.TensorSpec{
			spec("TFLite_Detection_PostProcess", f, -1, 10, 4), spec("TFLite_Detection_PostProcess:1", f, -1, 10),
			spec("TFLite_Detection_PostProcess:2", f, -1, 10), spec("TFLite_Detection_PostProcess:3", f, -1),
		}, ""},
		{"the ONNX model zoo", Config{}, []media.TensorSpec{spec("bboxes", f, 1, -1, 4), spec("labels", media.Int64, 1, -1), spec("scores", f, 1, -1)}, ""},
		{"scores for all classes", Config{}, []media.TensorSpec{spec("scores", f, -1, 4420, 2), spec("boxes", f, -1, 4420, 4)}, ""},
		{"other names", Config{}, []media.TensorSpec{spec("a", f, -1, 10, 4), spec("b", f, -1, 10)}, "outputs a FP32 [?,10,4], b FP32 [?,10]: their names do not tell"},
		{"other names, in order", Config{Outputs: []string{"a", "b"}}, []media.TensorSpec{spec("b", f, -1, 10), spec("a", f, -1, 10, 4)}, ""},
		{"too many names", Config{Outputs: []string{"a", "b", "c", "d", "e"}}, []media.TensorSpec{
			spec("a", f), spec("b", f), spec("c", f), spec("d", f), spec("e", f),
		}, "no batch axis"},
		{"boxes of five numbers", Config{}, []media.TensorSpec{spec("boxes", f, -1, 10, 5), spec("scores", f, -1, 10)}, `ssd needs boxes, floats of [?,boxes,4], and "boxes" is not`},
		{"scores for other boxes", Config{}, []media.TensorSpec{spec("boxes", f, -1, 10, 4), spec("scores", f, -1, 11)}, `ssd needs scores`},
		{"scores that are integers", Config{}, []media.TensorSpec{spec("boxes", f, -1, 10, 4), spec("scores", media.Int32, -1, 10)}, `ssd needs scores`},
		{"the background alone", Config{}, []media.TensorSpec{spec("boxes", f, -1, 10, 4), spec("scores", f, -1, 10, 1)}, `2 to 65536 classes`},
		{"more labels than classes", Config{Labels: []string{"background", "a", "b"}}, []media.TensorSpec{spec("boxes", f, -1, 10, 4), spec("scores", f, -1, 10, 2)}, `3 labels for 2 classes`},
		{"classes beside the scores of all", Config{}, []media.TensorSpec{spec("boxes", f, -1, 10, 4), spec("scores", f, -1, 10, 2), spec("labels", f, -1, 10)}, `leave it out`},
		{"classes of texts", Config{}, []media.TensorSpec{spec("boxes", f, -1, 10, 4), spec("scores", f, -1, 10), spec("labels", media.Bytes, -1, 10)}, `ssd needs classes`},
		{"a count for each box", Config{Outputs: []string{"a", "b", "c", "d"}}, []media.TensorSpec{
			spec("a", f, -1, 10, 4), spec("b", f, -1, 10), spec("c", f, -1, 10), spec("d", f, -1, 10),
		}, `one count a frame`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.config.Decoder, c.config.Input = "ssd", square(300)
			err := mustNew(t, c.config).Accept(c.outputs)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Accept = %v, want %q", err, c.want)
			}
		})
	}
}

// TestSSD reads one object and its surroundings in each form. Where nothing else is said it is a dog, class 1, in the middle of the picture.
func TestSSD(t *testing.T) {
	t.Parallel()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	in := media.PictureInput{Width: 300, Height: 300, Fit: media.Stretch}
	dog := media.Detection{Label: "dog", Score: 0.75, Box: media.Box{X: 0.25, Y: 0.5, Width: 0.5, Height: 0.25}}
	labels := []string{"background", "dog", "cat"}
	for _, c := range []struct {
		name    string
		config  Config
		outputs []media.RawTensor
		want    []media.Detection
	}{
		{"TensorFlow", Config{}, []media.RawTensor{
			fp32("num_detections", nil, 1), fp32("detection_scores", []int{2}, 0.75, 0.9), fp32("detection_classes", []int{2}, 1, 2),
			fp32("detection_boxes", []int{2, 4}, 0.5, 0.25, 0.75, 0.75, 0, 0, 1, 1), fp32("unread", []int{1}, 7),
		}, []media.Detection{dog}},
		{"a count of an axis", Config{Outputs: []string{"b", "s", "c", "n"}}, []media.RawTensor{
			fp32("b", []int{1, 4}, 0.25, 0.5, 0.75, 0.75), fp32("s", []int{1}, 0.75), fp32("c", []int{1}, 1), fp32("n", []int{1}, 1),
		}, []media.Detection{dog}},
		{"the ONNX model zoo", Config{}, []media.RawTensor{
			fp32("bboxes", []int{1, 4}, 0.25, 0.5, 0.75, 0.75), fp32("scores", []int{1}, 0.75),
			{Name: "labels", Datatype: media.Int64, Shape: []int{1}, Data: []byte{1, 0, 0, 0, 0, 0, 0, 0}},
		}, []media.Detection{dog}},
		{"pixels, y first", Config{Coordinates: "pixels", Corners: "yxyx"}, []media.RawTensor{
			fp32("boxes", []int{1, 4}, 150, 75, 225, 225), fp32("scores", []int{1}, 0.75), fp32("labels", []int{1}, 1),
		}, []media.Detection{dog}},
		{"no classes", Config{Labels: []string{"dog"}}, []media.RawTensor{
			fp32("boxes", []int{1, 4}, 0.25, 0.5, 0.75, 0.75), fp32("scores", []int{1}, 0.75),
		}, []media.Detection{dog}},
		{"overlaps are the model's business", Config{Labels: []string{"dog"}}, []media.RawTensor{
			fp32("boxes", []int{2, 4}, 0.25, 0.5, 0.75, 0.75, 0.25, 0.5, 0.75, 0.75), fp32("scores", []int{2}, 0.75, 0.75),
		}, []media.Detection{dog, dog}},
		{"classes, boxes and scores that are none", Config{}, []media.RawTensor{
			fp32("boxes", []int{6, 4}, 0, 0, 1, 1, 0, 0, 1, 1, nan, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1),
			fp32("scores", []int{6}, 0.9, 0.9, 0.9, 0.9, nan, 0.9), fp32("labels", []int{6}, -1, nan, 1, 1, 1, inf),
		}, nil},
		{"nothing", Config{}, []media.RawTensor{fp32("boxes", []int{0, 4}), fp32("scores", []int{0}), fp32("labels", []int{0})}, nil},
		{"scores for all classes", Config{}, []media.RawTensor{
			fp32("boxes", []int{4, 4}, 0.25, 0.5, 0.75, 0.75, 0.25, 0.5, 0.75, 0.76, 0, 0, 1, 1, 0.25, 0.5, 0.75, 0.75),
			fp32("scores", []int{4, 3}, 0, 0.75, 0, 0, 0.5, 0, 0.99, 0.01, 0, 0, 0.2, 0.625),
		}, []media.Detection{dog, {Label: "cat", Score: 0.625, Box: dog.Box}}},
		{"TensorFlow's raw boxes", Config{Outputs: []string{"raw_detection_boxes", "raw_detection_scores"}}, []media.RawTensor{
			fp32("raw_detection_boxes", []int{1, 4}, 0.5, 0.25, 0.75, 0.75), fp32("raw_detection_scores", []int{1, 3}, 0.25, 0.75, 0),
		}, []media.Detection{dog}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.config.Decoder, c.config.Input, c.config.Threshold = "ssd", in, 0.4
			if c.config.Labels == nil {
				c.config.Labels = labels
			}
			result, err := mustNew(t, c.config).Decode(c.outputs, media.Place(in, 640, 480))
			if err != nil || len(result.Detections) != len(c.want) {
				t.Fatalf("Decode = %+v, %v; want %+v", result, err, c.want)
			}
			for i, got := range result.Detections {
				w := c.want[i]
				off := math.Abs(got.Score-w.Score) + math.Abs(got.Box.X-w.Box.X) + math.Abs(got.Box.Y-w.Box.Y) + math.Abs(got.Box.Width-w.Box.Width) + math.Abs(got.Box.Height-w.Box.Height)
				if got.Label != w.Label || !(off < 1e-6) {
					t.Errorf("detection %d = %+v, want %+v", i, got, w)
				}
			}
		})
	}
}

func TestSSDUndoesALetterbox(t *testing.T) {
	t.Parallel()
	in := square(300) // 1280×720 lies in it at (0, 65.5) with 300×169
	p := media.Place(in, 1280, 720)
	boxes := fp32("boxes", []int{2, 4}, 0.25, float32((p.Y+p.Height/2)/300), 0.5, float32((p.Y+p.Height)/300), 0, 0, 1, 0.2)
	result, err := mustNew(t, Config{Decoder: "ssd", Input: in, Threshold: 0.5}).Decode([]media.RawTensor{boxes, fp32("scores", []int{2}, 0.9, 0.8)}, p)
	if err != nil || len(result.Detections) != 1 {
		t.Fatalf("Decode = %+v, %v; want one, the other lies in the bar", result, err)
	}
	if b := result.Detections[0].Box; math.Abs(b.X-0.25) > 1e-6 || math.Abs(b.Y-0.5) > 1e-6 || math.Abs(b.Width-0.25) > 1e-6 || math.Abs(b.Height-0.5) > 1e-6 {
		t.Errorf("box = %+v", b)
	}
}

func TestSSDRefuses(t *testing.T) {
	t.Parallel()
	one := fp32("boxes", []int{1, 4}, 0, 0, 1, 1)
	for name, outputs := range map[string][]media.RawTensor{
		"nothing":                  nil,
		"boxes alone":              {one},
		"a count above the boxes":  {one, fp32("s", []int{1}, 1), fp32("c", []int{1}, 1), fp32("n", []int{1}, 2)},
		"a negative count":         {one, fp32("s", []int{1}, 1), fp32("c", []int{1}, 1), fp32("n", []int{1}, -1)},
		"a count that is none":     {one, fp32("s", []int{1}, 1), fp32("c", []int{1}, 1), fp32("n", []int{1}, float32(math.NaN()))},
		"more scores than boxes":   {one, fp32("s", []int{2}, 1, 1)},
		"fewer classes than boxes": {one, fp32("s", []int{1}, 1), fp32("c", []int{0})},
	} {
		outputNames := make([]string, len(outputs))
		for i, o := range outputs {
			outputNames[i] = o.Name
		}
		d := mustNew(t, Config{Decoder: "ssd", Input: square(300), Outputs: outputNames})
		if result, err := d.Decode(outputs, media.Place(square(300), 300, 300)); err == nil {
			t.Errorf("%s: Decode = %+v, want an error", name, result)
		}
	}
}

func FuzzSSD(f *testing.F) {
	f.Add(make([]byte, 200), uint16(1), uint16(1), false)
	f.Add(fp32("", nil, 0.25, 0.5, 0.75, 0.75, 0.1, 0.1, 0.2, 0.2, 0.9, 0.8, 1, 2, 2).Data, uint16(64), uint16(48), false)
	f.Add(fp32("", nil, 0.25, 0.5, 0.75, 0.75, 0.1, 0.1, 0.2, 0.2, 0.1, 0.9, 0.8, 0.2).Data, uint16(64), uint16(48), true)
	var decoders [2]*Decoder
	for i, names := range [][]string{{"boxes", "scores", "classes", "count"}, {"boxes", "scores"}} {
		d, err := New(Config{Decoder: "ssd", Input: square(32), Threshold: 0.1, Outputs: names})
		if err != nil {
			f.Fatal(err)
		}
		decoders[i] = d
	}
	f.Fuzz(func(t *testing.T, data []byte, width, height uint16, all bool) {
		outputs, d := []media.RawTensor{fp32("boxes", []int{2, 4}), fp32("scores", []int{2}), fp32("classes", []int{2}), fp32("count", []int{1})}, decoders[0]
		if all {
			outputs, d = []media.RawTensor{fp32("boxes", []int{2, 4}), fp32("scores", []int{2, 2})}, decoders[1]
		}
		for i := range outputs {
			outputs[i].Data = make([]byte, 4*elements(outputs[i].Shape))
			data = data[copy(outputs[i].Data, data):]
		}
		result, err := d.Decode(outputs, media.Place(square(32), int(width)+1, int(height)+1))
		if err != nil {
			return // a count that is none
		}
		for _, got := range result.Detections {
			checkDetection(t, got)
		}
	})
}

func BenchmarkSSD(b *testing.B) {
	const boxes, classes = 8732, 81
	scores := make([]float32, boxes*classes)
	places := make([]float32, boxes*4)
	for i := range boxes {
		x, y := float32(i%90)/100, float32(i/90)/100
		copy(places[4*i:], []float32{x, y, x + 0.05, y + 0.05})
		if i%150 == 0 {
			scores[i*classes+1+i%80] = 0.9
		}
	}
	outputs := []media.RawTensor{fp32("boxes", []int{boxes, 4}, places...), fp32("scores", []int{boxes, classes}, scores...)}
	d, err := New(Config{Decoder: "ssd", Input: square(300), Threshold: 0.25})
	if err != nil {
		b.Fatal(err)
	}
	placement := media.Place(square(300), 1280, 720)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(outputs, placement); err != nil {
			b.Fatal(err)
		}
	}
}
