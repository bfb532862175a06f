package header_test

import (
	"bytes"
	"encoding/hex"
	"image"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/header"
)

func fromHex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func encoded(encode func(*bytes.Buffer, image.Image) error, width, height int) []byte {
	var b bytes.Buffer
	if err := encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func jpegFile(width, height int) []byte {
	return encoded(func(b *bytes.Buffer, m image.Image) error { return jpeg.Encode(b, m, nil) }, width, height)
}

func pngFile(width, height int) []byte {
	return encoded(func(b *bytes.Buffer, m image.Image) error { return png.Encode(b, m) }, width, height)
}

// exif puts an EXIF segment before the rest of a JPEG.
func exif(file []byte, tiff string) []byte {
	segment := append([]byte("Exif\x00\x00"), fromHex(tiff)...)
	out := append([]byte{0xff, 0xd8, 0xff, 0xff, 0xe1, 0, byte(len(segment) + 2)}, segment...)
	return append(out, file[2:]...)
}

// Parameter sets as x264 writes them, the first after an access unit delimiter.
const (
	spsBaseline720 = "00000001 0910 00000001 6742c01fd9005005bb0110000003001000000303c0f18324 00000001 68cb83cb20"
	spsHigh1080    = "00000001 67640028acd940780227e5c044000003000400000300f03c60c658 00000001 68ebe3cb22c0"
	spsHigh444     = "00000001 67f4001f919b281b07bc6de022000003000200000300781e30632c 00000001 68ebe3c44844"
)

// Parameter sets as x265 writes them, after an access unit delimiter and those of the video.
const (
	hevcHead    = "00000001 460110 00000001 40010c01ffff0160000003009000000300000300 5dba0240 00000001 "
	hevcMain720 = hevcHead + "420101 0160000003009000000300000300 5d a00280802d165ba4a4c2f0168080000003008000000f04 00000001 4401c073c189"
	hevcCropped = hevcHead + "420101 0160000003009000000300000300 3c a00d880f1c9596e92930bc05a020000003002000000303c1"
	hevcMain444 = hevcHead + "420101 0408000003009e08000003000 03c 90015101838f8bcb2b2a5261780b40400000030040000007 82"
	// The first with two temporal sub-layers more, one of them with a profile.
	hevcLayers = "00000001 420105 0160000003009000000300000300 5d d000 0160000003009000000300000300 5a 5d a00280802d165ba4a4c2f0168080000003008000000f04"
)

type headerCase struct {
	name  string
	codec media.Codec
	unit  []byte
	want  header.Info
}

func plain(width, height int) header.Info {
	return header.Info{Width: width, Height: height, Pixels: int64(width) * int64(height), Orientation: 1, Whole: true}
}

func turned(width, height int, orientation uint8) header.Info {
	info := plain(width, height)
	info.Orientation = orientation
	return info
}

func headerCases() []headerCase {
	unknown := header.Info{Orientation: 1, Whole: true}
	cut := turned(67, 45, 1)
	cut.Whole = false
	full := func(width, height, pixels int) header.Info {
		return header.Info{Width: width, Height: height, Pixels: int64(pixels), Orientation: 1, Whole: true}
	}
	photo := jpegFile(67, 45)
	return []headerCase{
		{"VP8 key frame, scaling bits set", media.VP8, fromHex("10 02 00 9d 01 2a 00 45 d0 82 00"), plain(1280, 720)},
		{"VP8 inter frame", media.VP8, fromHex("11 02 00 9d 01 2a 00 05 d0 02 00"), unknown},
		{"VP8 short", media.VP8, fromHex("10 02 00 9d 01 2a 00 05 d0"), unknown},
		// x264's own parameter sets, by profile and size.
		{"H.264 constrained baseline 1280×720", media.H264, fromHex(spsBaseline720), full(1280, 720, 1280*720)},
		{"H.264 high 1920×1080, cropped", media.H264, fromHex(spsHigh1080), full(1920, 1080, 1920*1088)},
		{"H.264 high 4:4:4, cropped", media.H264, fromHex(spsHigh444), full(852, 478, 864*480)},
		{"H.264 slice before its parameter set", media.H264, append(fromHex("000001 65 88"), fromHex(spsHigh1080)...), unknown},
		{"H.264 parameter set cut", media.H264, fromHex(spsHigh1080)[:12], unknown},
		{"H.265 main 1280×720", media.H265, fromHex(hevcMain720), plain(1280, 720)},
		{"H.265 main, cropped", media.H265, fromHex(hevcCropped), full(426, 238, 432*240)},
		{"H.265 4:4:4, cropped", media.H265, fromHex(hevcMain444), full(322, 182, 336*192)},
		{"H.265 with sub-layers", media.H265, fromHex(hevcLayers), plain(1280, 720)},
		{"H.265 slice before its parameter set", media.H265, append(fromHex("000001 2601 af"), fromHex(hevcMain720)...), unknown},
		{"H.265 parameter set of an upper layer", media.H265, fromHex("000001 4209 01" + hevcMain720[len(hevcHead)+6:]), unknown},
		{"H.265 parameter set cut", media.H265, fromHex(hevcMain720)[:56], unknown},
		{"H.265 parameter set of nothing", media.H265, fromHex("000001 42 000001 4201"), unknown},
		// As libvpx writes them: of other sizes, with colours of each profile, and between key frames.
		{"VP9 key frame", media.VP9, fromHex("82 49 83 42 00 4f f0 2c f6 06 38"), plain(1280, 720)},
		{"VP9 4:4:4", media.VP9, fromHex("a2 49 83 42 00 02 82 01 6a c0 87"), plain(322, 182)},
		{"VP9 RGB", media.VP9, fromHex("a2 49 83 42 e0 14 10 0b 56 04 38"), plain(322, 182)},
		{"VP9 of ten bits", media.VP9, fromHex("92 49 83 42 00 0a 08 05 ab 01 1c"), plain(322, 182)},
		{"VP9 inter frame of its reference's size", media.VP9, fromHex("86 00 40 92 f2 01 54 00"), unknown},
		{"VP9 inter frame of a new size", media.VP9, fromHex("86 00 40 90 00 77 80 42 bc 80 55"), plain(240, 134)},
		{"VP9 inter frame of another new size", media.VP9, fromHex("86 00 40 90 00 6a 00 3b 27 19 14"), plain(213, 119)},
		{"VP9 hidden intra frame", media.VP9, fromHex("84 89 30 68 40 20 9f e0 59 e0"), plain(1280, 720)},
		{"VP9 existing frame", media.VP9, fromHex("88"), unknown},
		{"VP9 cut", media.VP9, fromHex("82 49 83 42 00 4f f0 2c"), unknown},
		{"VP9 without sync code", media.VP9, fromHex("82 00 00 00 00 4f f0 2c f6 06 38"), unknown},
		{"VP9 of two layers, the larger below", media.VP9, fromHex("82 49 83 42 00 4f f0 2c f6 06  86 00 40 90 00 77 80 42 bc 80 55  c1 0a 0b c1"), full(240, 134, 1280*720)},
		{"VP9 of layers that do not fit", media.VP9, fromHex("82 49 83 42 00 4f f0 2c f6 06  c1 0a 0b c1"), plain(1280, 720)},
		// As libaom and SVT-AV1 write them.
		{"AV1 sequence header", media.AV1, fromHex("12 00 0a 0b 00 00 00 2d 4c ff b3 cd af 90 04 32 02 10 00"), plain(1280, 720)},
		{"AV1 sequence header, small", media.AV1, fromHex("12 00 0a 0b 00 00 00 04 3d 06 d4 fb f9 00 40"), plain(322, 182)},
		{"AV1 sequence header, size of four bytes", media.AV1, fromHex("12 00 0a 8b 80 80 00 00 00 00 04 3d 06 d4 fb f9 00 40"), plain(322, 182)},
		{"AV1 reduced still picture", media.AV1, fromHex("0a 05 1a 2a 67 fd 9e"), plain(1280, 720)},
		{"AV1 without sequence header", media.AV1, fromHex("12 00 32 02 10 00"), unknown},
		{"AV1 cut", media.AV1, fromHex("12 00 0a 0b 00 00 00 2d 4c"), unknown},
		{"AV1 sequence header cut", media.AV1, fromHex("12 00 0a 04 00 00 00 2d"), unknown},
		{"AV1 OBU without size", media.AV1, fromHex("08 00 00 00 2d 4c ff b3"), unknown},
		{"PNG", media.PNG, pngFile(640, 481), plain(640, 481)},
		{"PNG cut", media.PNG, pngFile(640, 481)[:20], unknown},
		{"JPEG", media.JPEG, photo, plain(67, 45)},
		{"JPEG cut in its scan", media.JPEG, photo[:len(photo)-2], cut},
		{"JPEG turned, big endian", media.JPEG, exif(photo, "4d4d002a00000008 0002 0100000300000001 00000000 0112000300000001 0006 0000"), turned(67, 45, 6)},
		{"JPEG turned, little endian", media.JPEG, exif(photo, "49492a0008000000 0100 1201030001000000 0300 0000"), turned(67, 45, 3)},
		{"JPEG turned to nowhere", media.JPEG, exif(photo, "4d4d002a00000008 0001 0112000300000001 0009 0000"), plain(67, 45)},
		{"JPEG with a directory outside", media.JPEG, exif(photo, "4d4d002affffffff 0001 0112000300000001 0006 0000"), plain(67, 45)},
		{"WebP lossy", media.WebP, fromHex("52494646 24000000 57454250 56503820 18000000 300100 9d012a 4201 b600 00000000"), plain(322, 182)},
		{"WebP lossless", media.WebP, fromHex("52494646 24000000 57454250 5650384c 18000000 2f 41412d00 0000000000"), plain(322, 182)},
		{"WebP extended", media.WebP, fromHex("52494646 24000000 57454250 56503858 0a000000 10000000 410100 b50000"), plain(322, 182)},
		{"unknown codec", media.CodecUnknown, photo, unknown},
		{"nothing", media.PNG, nil, unknown},
		{"nothing of a JPEG", media.JPEG, nil, header.Info{Orientation: 1}},
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range headerCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := header.Read(c.codec, c.unit); got != c.want {
				t.Errorf("Read gave %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestUpright(t *testing.T) {
	t.Parallel()
	for orientation := uint8(1); orientation <= 8; orientation++ {
		w, h := header.Info{Width: 3, Height: 2, Orientation: orientation}.Upright()
		if want := orientation >= 5; (w == 2 && h == 3) != want {
			t.Errorf("orientation %d: upright %d×%d", orientation, w, h)
		}
	}
}

// FuzzRead must end, and give sizes whose product does not overflow.
func FuzzRead(f *testing.F) {
	for _, c := range headerCases() {
		f.Add(uint8(c.codec), c.unit)
	}
	f.Fuzz(func(t *testing.T, codec uint8, unit []byte) {
		info := header.Read(media.Codec(codec), unit)
		if info.Width < 0 || info.Height < 0 || info.Pixels < int64(info.Width)*int64(info.Height) || info.Orientation < 1 || info.Orientation > 8 {
			t.Errorf("Read gave %+v", info)
		}
	})
}
