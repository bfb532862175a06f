package detect

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// golden is testdata/golden.json; golden.py says where it comes from.
type golden struct {
	Suppress []struct {
		Overlap float64
		Boxes   [][4]float64
		Scores  []float64
		Classes []int
		Kept    []int
	}
	Heads []goldenHead
}

// goldenHead is an output of a YOLO head, zero but for rows, each the index of a box before its numbers. Wanted are class, score, and box in the source.
type goldenHead struct {
	Name, Version      string
	Input, Source      [2]int
	Shape              []int
	Threshold, Overlap float64
	Rows               [][]float64
	Want               [][6]float64
}

func readGolden(t testing.TB) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// tensor gives the head's output. A v8 head is written as the others are in the file, a row for each box.
func (h goldenHead) tensor() media.RawTensor {
	t := media.RawTensor{Name: "output0", Datatype: media.FP32, Shape: h.Shape, Data: make([]byte, 4*elements(h.Shape))}
	for _, row := range h.Rows {
		for i, v := range row[1:] {
			at := int(row[0])*h.Shape[1] + i
			if h.Version == "v8" {
				at = i*h.Shape[1] + int(row[0])
			}
			binary.LittleEndian.PutUint32(t.Data[4*at:], math.Float32bits(float32(v)))
		}
	}
	return t
}

func (h goldenHead) input() media.PictureInput {
	return media.PictureInput{Width: h.Input[0], Height: h.Input[1], Fit: media.Letterbox, Color: media.RGB}
}

// TestSuppressIsTheReference suppresses what ONNX Runtime has suppressed too: the same boxes stay, in the same order.
func TestSuppressIsTheReference(t *testing.T) {
	t.Parallel()
	for i, c := range readGolden(t).Suppress {
		found := shortlist{}
		for j, b := range c.Boxes {
			found.add(candidate{score: c.Scores[j], class: c.Classes[j], index: j, left: b[0], top: b[1], right: b[2], bottom: b[3]})
		}
		var kept []int
		for _, k := range suppress(found.best(), c.Overlap) {
			kept = append(kept, k.index)
		}
		if !slices.Equal(kept, c.Kept) {
			t.Errorf("case %d, %d boxes: kept %v, want %v", i, len(c.Boxes), kept, c.Kept)
		}
	}
}

// TestYOLOIsTheReference decodes heads that others have decoded, with the version given and, where it can be seen, without.
func TestYOLOIsTheReference(t *testing.T) {
	t.Parallel()
	for _, h := range readGolden(t).Heads {
		for _, version := range []string{h.Version, ""} {
			if version == "" && h.Version == "yolox" {
				continue
			}
			t.Run(h.Name+" as "+strconv.Quote(version), func(t *testing.T) {
				t.Parallel()
				// The file has no zeros: a threshold of 0 would admit every other box too, of no size.
				d := mustNew(t, Config{Decoder: "yolo", Version: version, Input: h.input(), Threshold: max(h.Threshold, 1e-9), Overlap: h.Overlap})
				served := media.TensorSpec{Name: "output0", Datatype: media.FP32, Shape: append([]int{-1}, h.Shape...)}
				if err := d.Accept([]media.TensorSpec{served}); err != nil {
					t.Fatal(err)
				}
				result, err := d.Decode([]media.RawTensor{h.tensor()}, media.Place(h.input(), h.Source[0], h.Source[1]))
				if err != nil {
					t.Fatal(err)
				}
				checkGolden(t, result.Detections, h.Want)
			})
		}
	}
}

func checkGolden(t *testing.T, got []media.Detection, want [][6]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d detections, want %d", len(got), len(want))
	}
	const tolerance = 1e-6 // of numbers that travelled as float32
	for i, d := range got {
		w := want[i]
		checkDetection(t, d)
		numbers := [...]float64{d.Score - w[1], d.Box.X - w[2], d.Box.Y - w[3], d.Box.X + d.Box.Width - w[4], d.Box.Y + d.Box.Height - w[5]}
		if d.Label != strconv.Itoa(int(w[0])) || slices.ContainsFunc(numbers[:], func(v float64) bool { return math.Abs(v) > tolerance }) {
			t.Errorf("detection %d = %+v, want %v (class, score, corners)", i, d, w)
		}
	}
}

// suppressSlowly is suppress as one would explain it: of all pairs, a box falls when a better one of its class that stays covers it. It shares nothing with suppress
// but the type.
func suppressSlowly(all []candidate, limit float64) []int {
	left := slices.Clone(all)
	slices.SortStableFunc(left, func(a, b candidate) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		default:
			return a.index - b.index
		}
	})
	left = left[:min(len(left), maxCandidates)]
	var kept []int
	for len(left) > 0 {
		top := left[0]
		kept = append(kept, top.index)
		var rest []candidate
		for _, c := range left[1:] {
			w := math.Min(top.right, c.right) - math.Max(top.left, c.left)
			h := math.Min(top.bottom, c.bottom) - math.Max(top.top, c.top)
			common := math.Max(w, 0) * math.Max(h, 0)
			union := (top.right-top.left)*(top.bottom-top.top) + (c.right-c.left)*(c.bottom-c.top) - common
			if c.class != top.class || common/union <= limit {
				rest = append(rest, c)
			}
		}
		left = rest
	}
	return kept[:min(len(kept), maxDetections)]
}

// TestSuppressIsExact compares with the slow way over random crowds, some of them beyond the bounds, with equal scores among them.
func TestSuppressIsExact(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 10, 100, maxCandidates - 1, maxCandidates, maxCandidates + 1, 5000} {
		for _, limit := range []float64{0.1, 0.45, 0.9} {
			all, found := make([]candidate, n), shortlist{}
			for i := range all {
				x, y := random.Float64()*600, random.Float64()*600
				all[i] = candidate{
					score: float64(random.IntN(500)) / 500, class: random.IntN(3), index: i,
					left: x, top: y, right: x + 1 + random.Float64()*100, bottom: y + 1 + random.Float64()*100,
				}
				if found.admits(all[i].score) {
					found.add(all[i])
				}
			}
			var kept []int
			for _, k := range suppress(found.best(), limit) {
				kept = append(kept, k.index)
			}
			if want := suppressSlowly(all, limit); !slices.Equal(kept, want) {
				t.Errorf("%d boxes, limit %g: kept %d, want %d: %v, %v", n, limit, len(kept), len(want), kept, want)
			}
		}
	}
}
