package decoder_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// quadrants draws four quarters of plain colours: red, green below it to the right of it blue, and white; no two turns of it are alike.
func quadrants(width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetNRGBA(x, y, quadrant(x >= width/2, y >= height/2))
		}
	}
	return m
}

func quadrant(right, low bool) color.NRGBA {
	switch {
	case right && low:
		return color.NRGBA{255, 255, 255, 255}
	case right:
		return color.NRGBA{0, 0, 255, 255}
	case low:
		return color.NRGBA{0, 255, 0, 255}
	default:
		return color.NRGBA{255, 0, 0, 255}
	}
}

// noise draws what compresses badly and has no symmetry.
func noise(width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	state := uint32(1)
	for i := range m.Pix {
		state = state*1664525 + 1013904223
		m.Pix[i] = byte(state >> 24)
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

func encodePNG(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func encodeJPEG(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// oriented puts EXIF's orientation into a JPEG.
func oriented(file []byte, orientation int) []byte {
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	tiff[19] = byte(orientation)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, file[:2]...)
	out = append(out, 0xff, 0xe1)
	out = binary.BigEndian.AppendUint16(out, uint16(len(segment)+2))
	return append(append(out, segment...), file[2:]...)
}

// pngHeader is a PNG that claims a size and has next to no data.
func pngHeader(width, height uint32) []byte {
	chunk := func(kind string, data []byte) []byte {
		out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
		out = append(append(out, kind...), data...)
		return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
	}
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	return bytes.Join([][]byte{[]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", ihdr), chunk("IDAT", []byte{0x78, 0x9c, 3, 0, 0, 0, 0, 1}), chunk("IEND", nil)}, nil)
}

// endlessJPEG is a progressive JPEG of as many scans as fit the size: each takes a few bytes and a walk over the whole picture.
func endlessJPEG(width, height uint16, size int) []byte {
	segment := func(marker byte, data ...byte) []byte {
		out := binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2))
		return append(out, data...)
	}
	quantisation := append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)
	frame := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{8}, height), width)
	frame = append(frame, 1, 1, 0x11, 0)
	oneCode := func(class, symbol byte) []byte { return append(append([]byte{class, 1}, make([]byte, 15)...), symbol) }
	blocks := (int(width) + 7) / 8 * ((int(height) + 7) / 8)

	out := []byte{0xff, 0xd8}
	out = append(out, segment(0xdb, quantisation...)...)
	out = append(out, segment(0xc2, frame...)...)
	out = append(out, segment(0xc4, oneCode(0x00, 0)...)...)    // DC: "0" is no difference
	out = append(out, segment(0xc4, oneCode(0x10, 0xe0)...)...) // AC: "0" ends the band for 2^14 blocks and 14 bits more
	out = append(out, segment(0xda, 1, 1, 0x00, 0, 0, 0)...)
	out = append(out, make([]byte, (blocks+7)/8)...)
	run := uint16(min(blocks, 1<<15-2) - 1<<14)
	scan := append(segment(0xda, 1, 1, 0x00, 1, 63, 0), byte(run>>7), byte(run<<1|1))
	for len(out)+len(scan)+2 < size {
		out = append(out, scan...)
	}
	return append(out, 0xff, 0xd9)
}

func unit(codec media.Codec, data []byte) media.AccessUnit {
	return media.AccessUnit{Codec: codec, Data: data, Key: true}
}

// native is the form in which a picture keeps its size.
func native(width, height int) media.PictureInput {
	return media.PictureInput{Width: width, Height: height, Fit: media.Stretch, Color: media.RGB}
}

func at(payload []byte, width, x, y int) [3]byte { return [3]byte(payload[(y*width+x)*3:]) }

// near tells whether two pixels differ by at most n in each channel.
func near(a, b [3]byte, n int) bool {
	for i := range a {
		if d := int(a[i]) - int(b[i]); d > n || -d > n {
			return false
		}
	}
	return true
}

func describe(p [3]byte) string { return fmt.Sprintf("(%d, %d, %d)", p[0], p[1], p[2]) }
