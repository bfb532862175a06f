package tensor

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

func identity(layout Layout, datatype media.Datatype) Picture {
	return Picture{Width: 2, Height: 2, Layout: layout, Datatype: datatype, Scale: [3]float64{1, 1, 1}}
}

func TestNewPackerRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Picture)
		want   string
	}{
		{"no width", func(p *Picture) { p.Width = 0 }, "0×2"},
		{"a height beyond all pictures", func(p *Picture) { p.Height = 1 << 16 }, "from 1 to 32768"},
		{"no layout", func(p *Picture) { p.Layout = "" }, "NCHW or NHWC"},
		{"a datatype that is not packed", func(p *Picture) { p.Datatype = media.Int64 }, "FP32 or UINT8"},
		{"bytes with a mean", func(p *Picture) { p.Datatype, p.Mean = media.Uint8, [3]float64{1, 0, 0} }, "mean must be"},
		{"bytes without scale", func(p *Picture) { p.Datatype, p.Scale = media.Uint8, [3]float64{} }, "scale [1, 1, 1]"},
		{"a scale that is no number", func(p *Picture) { p.Scale[1] = math.NaN() }, "channel 1"},
		{"a scale beyond float32", func(p *Picture) { p.Scale[2] = 1e38 }, "not finite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := identity(NCHW, media.FP32)
			c.change(&p)
			if _, err := NewPacker(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("NewPacker = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestPack(t *testing.T) {
	t.Parallel()
	payload := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}
	for _, c := range []struct {
		name    string
		picture Picture
		shape   []int
		want    []float32
	}{
		{"planes of floats", identity(NCHW, media.FP32), []int{5, 3, 2, 2}, []float32{1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 255}},
		{"pixels of floats", identity(NHWC, media.FP32), []int{5, 2, 2, 3}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}},
		{
			"normalised by channel",
			Picture{Width: 2, Height: 2, Layout: NCHW, Datatype: media.FP32, Mean: [3]float64{1, 0, 55}, Scale: [3]float64{2, 0.5, -0.01}},
			[]int{5, 3, 2, 2},
			[]float32{0, 6, 12, 18, 1, 2.5, 4, 5.5, 0.52, 0.49, 0.46, -2},
		},
		{"planes of bytes", identity(NCHW, media.Uint8), []int{5, 3, 2, 2}, []float32{1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 255}},
		{"pixels of bytes", identity(NHWC, media.Uint8), []int{5, 2, 2, 3}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, err := NewPacker(c.picture)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.picture.Shape(5); !slices.Equal(got, c.shape) {
				t.Errorf("Shape = %v, want %v", got, c.shape)
			}
			var want []byte
			for _, v := range c.want {
				if c.picture.Datatype == media.Uint8 {
					want = append(want, byte(v))
				} else {
					want = binary.LittleEndian.AppendUint32(want, math.Float32bits(v))
				}
			}
			frame := make([]byte, k.FrameBytes())
			if err := k.Pack(frame, payload); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(frame, want) {
				t.Errorf("Pack = % x, want % x", frame, want)
			}
		})
	}
}

func TestPackRefusesOtherSizes(t *testing.T) {
	t.Parallel()
	k, err := NewPacker(identity(NCHW, media.FP32))
	if err != nil {
		t.Fatal(err)
	}
	for _, sizes := range [][2]int{{48, 11}, {48, 13}, {48, 0}, {47, 12}, {49, 12}, {0, 12}} {
		frame := make([]byte, sizes[0])
		if err := k.Pack(frame, bytes.Repeat([]byte{9}, sizes[1])); err == nil {
			t.Errorf("Pack of %d bytes into %d succeeded", sizes[1], sizes[0])
		}
		if slices.ContainsFunc(frame, func(b byte) bool { return b != 0 }) {
			t.Errorf("Pack of %d bytes into %d wrote something", sizes[1], sizes[0])
		}
	}
}

func BenchmarkPack(b *testing.B) {
	for _, layout := range []Layout{NCHW, NHWC} {
		b.Run(string(layout), func(b *testing.B) {
			k, err := NewPacker(Picture{Width: 384, Height: 224, Layout: layout, Datatype: media.FP32, Scale: [3]float64{1, 1, 1}})
			if err != nil {
				b.Fatal(err)
			}
			frame, payload := make([]byte, k.FrameBytes()), make([]byte, k.PayloadBytes())
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if err := k.Pack(frame, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
