package tensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
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
		shape   []int // of one frame
		want    []float32
	}{
		{"planes of floats", identity(NCHW, media.FP32), []int{3, 2, 2}, []float32{1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 255}},
		{"pixels of floats", identity(NHWC, media.FP32), []int{2, 2, 3}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}},
		{
			"normalised by channel",
			Picture{Width: 2, Height: 2, Layout: NCHW, Datatype: media.FP32, Mean: [3]float64{1, 0, 55}, Scale: [3]float64{2, 0.5, -0.01}},
			[]int{3, 2, 2},
			[]float32{0, 6, 12, 18, 1, 2.5, 4, 5.5, 0.52, 0.49, 0.46, -2},
		},
		{"planes of bytes", identity(NCHW, media.Uint8), []int{3, 2, 2}, []float32{1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 255}},
		{"pixels of bytes", identity(NHWC, media.Uint8), []int{2, 2, 3}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, err := NewPacker(c.picture)
			if err != nil {
				t.Fatal(err)
			}
			if got := k.Shapes(); len(got) != 1 || !slices.Equal(got[0], c.shape) {
				t.Errorf("Shapes = %v, want %v", got, c.shape)
			}
			var want []byte
			for _, v := range c.want {
				if c.picture.Datatype == media.Uint8 {
					want = append(want, byte(v))
				} else {
					want = binary.LittleEndian.AppendUint32(want, math.Float32bits(v))
				}
			}
			before := []byte("a frame before")
			batch, err := k.Pack(slices.Clone(before), media.Payload{payload})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(batch, append(before, want...)) || k.FrameBytes(media.Payload{payload}) != len(want) {
				t.Errorf("Pack = % x, want % x after the frame before", batch, want)
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
	batch := []byte("frames before")
	for _, size := range []int{11, 13, 0} {
		got, err := k.Pack(batch, media.Payload{make([]byte, size)})
		if err == nil || !bytes.Equal(got, batch) {
			t.Errorf("Pack of %d bytes = %q, %v, want an error and the batch as it was", size, got, err)
		}
	}
}

// TestPackPieces cuts payloads in every way that a network may: what is packed does not depend on it.
func TestPackPieces(t *testing.T) {
	t.Parallel()
	picture := func(layout Layout, datatype media.Datatype) Picture {
		p := Picture{Width: 7, Height: 3, Layout: layout, Datatype: datatype, Scale: [3]float64{1, 1, 1}}
		if datatype == media.FP32 {
			p.Mean, p.Scale = [3]float64{1, 2, 3}, [3]float64{0.1, 0.2, 0.3}
		}
		return p
	}
	for name, in := range map[string]Input{
		"planes of floats": picture(NCHW, media.FP32), "pixels of floats": picture(NHWC, media.FP32),
		"planes of bytes": picture(NCHW, media.Uint8), "pixels of bytes": picture(NHWC, media.Uint8),
		"sound as floats": Sound{Samples: 30, Datatype: media.FP32}, "sound as integers": Sound{Samples: 30, Datatype: media.Int16},
		"a tensor": Raw{Datatype: media.Int32, Shape: []int{15}}, "a text": Text{Limit: 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := NewPacker(in)
			if err != nil {
				t.Fatal(err)
			}
			payload := make([]byte, k.form.payload)
			for i := range payload {
				payload[i] = byte(101 * i)
			}
			want, err := k.Pack(nil, media.Payload{payload})
			if err != nil {
				t.Fatal(err)
			}
			check := func(pieces media.Payload) {
				if got, err := k.Pack([]byte("before"), pieces); err != nil || !bytes.Equal(got[len("before"):], want) {
					t.Errorf("in %d pieces: % x, %v; want % x", len(pieces), got, err, want)
				}
			}
			check(slices.Insert(slices.Collect(slices.Chunk(payload, 1)), 5, []byte{}))
			for first := range payload {
				for length := range len(payload) - first {
					check(media.Payload{payload[:first], payload[first : first+length], payload[first+length:]})
				}
			}
		})
	}
}

// BenchmarkPack packs pictures as they come from the network, in pieces of up to 16 KiB.
func BenchmarkPack(b *testing.B) {
	for _, size := range [][2]int{{640, 360}, {384, 224}} {
		for _, datatype := range []media.Datatype{media.FP32, media.Uint8} {
			for _, layout := range []Layout{NCHW, NHWC} {
				b.Run(fmt.Sprintf("%dx%d/%s/%s", size[0], size[1], datatype, layout), func(b *testing.B) {
					k, err := NewPacker(Picture{Width: size[0], Height: size[1], Layout: layout, Datatype: datatype, Scale: [3]float64{1, 1, 1}})
					if err != nil {
						b.Fatal(err)
					}
					payload := make([]byte, size[0]*size[1]*3)
					for i := range payload {
						payload[i] = byte(i * i)
					}
					pieces := media.Payload(slices.Collect(slices.Chunk(payload, 16<<10)))
					var batch []byte
					b.SetBytes(int64(len(payload)))
					b.ReportAllocs()
					for b.Loop() {
						if batch, err = k.Pack(batch[:0], pieces); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
