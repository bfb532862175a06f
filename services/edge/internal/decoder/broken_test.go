package decoder_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// release gives pictures back and says how many they were.
func release(pictures []decoder.Picture) int {
	for _, p := range pictures {
		p.Release()
	}
	return len(pictures)
}

// TestHostileImages shows each what it is, and that the process carries on.
func TestHostileImages(t *testing.T) {
	jpeg, png := encodeJPEG(t, noise(640, 480)), encodePNG(t, noise(640, 480))
	webp := clip(t, "-f lavfi -i testsrc2=size=322x182 -frames:v 1 -c:v libwebp -f webp -")
	flipped := slices.Clone(png)
	flipped[len(flipped)/2] ^= 0x10
	for _, c := range []struct {
		name  string
		codec media.Codec
		data  []byte
		want  string
	}{
		{"nothing", media.JPEG, nil, "DECODER"},
		{"text", media.JPEG, []byte("<html>not a picture</html>"), "DECODER"},
		{"JPEG cut in half", media.JPEG, jpeg[:len(jpeg)/2], "DECODER"},
		{"JPEG without its end", media.JPEG, jpeg[:len(jpeg)-100], "DECODER"},
		{"JPEG cut in its header", media.JPEG, jpeg[:300], "DECODER"},
		{"JPEG called PNG", media.PNG, jpeg, "DECODER"},
		{"PNG called JPEG", media.JPEG, png, "DECODER"},
		{"PNG cut", media.PNG, png[:len(png)-100], "DECODER"},
		{"PNG with a wrong bit", media.PNG, flipped, "DECODER"},
		{"PNG that lacks its pixels", media.PNG, pngHeader(300, 300), "DECODER"},
		{"PNG of 30,000 × 30,000", media.PNG, pngHeader(30000, 30000), "UNSUPPORTED"},
		{"PNG as wide as numbers go", media.PNG, pngHeader(1<<31-1, 1<<31-1), "UNSUPPORTED"},
		{"PNG a line too long", media.PNG, pngHeader(16384, 1), "UNSUPPORTED"},
		{"JPEG of 65,535 × 65,535", media.JPEG, jpegOfSize(jpeg, 65535, 65535), "UNSUPPORTED"},
		{"JPEG of no height", media.JPEG, jpegOfSize(jpeg, 640, 0), "DECODER"},
		{"WebP cut", media.WebP, webp[:len(webp)/2], "DECODER"},
		{"WebP of 16,384 × 16,384", media.WebP, []byte("RIFF\x18\x00\x00\x00WEBPVP8L\x0c\x00\x00\x00\x2f\xff\xff\xff\x0f\x00\x00\x00\x00\x00\x00\x00"), "UNSUPPORTED"},
		{"codec of no name", media.CodecUnknown, jpeg, "UNSUPPORTED"},
		{"too large", media.JPEG, make([]byte, 4<<20+1), "TOO_LARGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := open(t, nil)
			if err := d.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			process := d.PID()
			pictures, err := decode(d, 1, 1, unit(c.codec, c.data), faces)
			if got := reason(err); got != c.want || release(pictures) > 0 {
				t.Errorf("%s with %d pictures (%v), want %s", got, len(pictures), err, c.want)
			}
			// The same stream goes on, in the same process.
			if pictures, err = decode(d, 2, 2, unit(media.JPEG, jpeg), faces); err != nil || release(pictures) != 1 {
				t.Errorf("a good picture afterwards: %v", err)
			}
			if d.PID() != process {
				t.Error("the process was restarted")
			}
		})
	}
}

// jpegOfSize changes the size in the frame header.
func jpegOfSize(file []byte, width, height uint16) []byte {
	out := slices.Clone(file)
	i := bytes.Index(out, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(out[i+5:], height)
	binary.BigEndian.PutUint16(out[i+7:], width)
	return out
}

// TestCutSlices damages one unit of a stream of four slices a picture. No picture with invented parts may come out; the stream goes on at its
// next key unit.
func TestCutSlices(t *testing.T) {
	const damaged, nextKey = 5, 15
	for codec, units := range map[string][]media.AccessUnit{
		"H.264": h264Clip(t, "1280x720", "bframes=0:slices=4"),
		"H.265": h265Clip(t, "1280x720", "bframes=0:slices=4"),
	} {
		another := nals(units[nextKey].Data)
		for _, c := range []struct {
			name   string
			damage func(nals [][]byte) [][]byte
		}{
			{"first slice missing", func(n [][]byte) [][]byte { return slices.Concat(n[:1], n[2:]) }},
			{"a middle slice missing", func(n [][]byte) [][]byte { return slices.Concat(n[:2], n[3:]) }},
			{"last slice missing", func(n [][]byte) [][]byte { return n[:4] }},
			{"a slice cut in half", func(n [][]byte) [][]byte { return slices.Concat(n[:2], [][]byte{n[2][:len(n[2])/2]}, n[3:]) }},
			{"the last slice cut in half", func(n [][]byte) [][]byte { return slices.Concat(n[:4], [][]byte{n[4][:len(n[4])/2]}) }},
			{"a slice cut in its header", func(n [][]byte) [][]byte { return slices.Concat(n[:1], [][]byte{n[1][:4]}, n[2:]) }},
			{"no slice left", func(n [][]byte) [][]byte { return n[:1] }},
			{"a slice of another picture", func(n [][]byte) [][]byte {
				return slices.Concat(n[:2], another[len(another)-3:len(another)-2], n[3:])
			}},
		} {
			t.Run(codec+", "+c.name, func(t *testing.T) {
				d := open(t, nil)
				noticed := damaged
				if codec == "H.265" && c.name == "no slice left" {
					noticed++ // a unit that shows nothing is none that is missed, until a picture refers to it
				}
				for i, u := range units {
					if i == damaged {
						parts := nals(u.Data)
						if len(parts) != 5 {
							t.Fatalf("the unit has %d NAL units, want a delimiter and four slices", len(parts))
						}
						u.Data = joinNALs(c.damage(parts))
					}
					pictures, err := decode(d, 1, uint64(i), u, faces)
					want := ""
					switch {
					case i == noticed:
						want = "DECODER"
					case i > noticed && i < nextKey:
						want = "DAMAGED"
					}
					if got, n := reason(err), release(pictures); got != want || (n == 1) != (i < damaged || i >= nextKey) {
						t.Fatalf("unit %d: %q with %d pictures (%v), want %q", i, got, n, err, want)
					}
				}
			})
		}
	}
}

// TestVideoThatIsTooLarge refuses it by its header, and what depends on it.
func TestVideoThatIsTooLarge(t *testing.T) {
	for name, units := range map[string][]media.AccessUnit{
		"VP8": vp8Clip(t), "VP9": vp9Clip(t), "H.264": h264Clip(t, "1280x720", "bframes=0:cabac=0"), "AV1": av1Clip(t),
		"H.265": h265Clip(t, "1280x720", "bframes=0"),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, func(c *decoder.Config) { c.MaxWidth, c.MaxHeight = 640, 480 })
			for i, want := range []string{"UNSUPPORTED", "DAMAGED", "DAMAGED"} {
				if _, err := decode(d, 1, uint64(i), units[i], faces); reason(err) != want {
					t.Errorf("unit %d: %v, want %s", i, err, want)
				}
			}
			if d.PID() != 0 {
				t.Error("a process was started for it")
			}
		})
	}
}

// TestVideoOfTenBits decodes what no payload can hold: it is refused for that, not taken for something else.
func TestVideoOfTenBits(t *testing.T) {
	const source = "-f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 2 -pix_fmt yuv420p10le "
	for name, units := range map[string][]media.AccessUnit{
		"VP9":   ivfUnits(clip(t, source+realtimeVP9)),
		"AV1":   ivfUnits(clip(t, source+realtimeAV1)),
		"H.265": hevcUnits(clip(t, source+hevc("bframes=0"))),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			units[0].Key = true // the flag's place differs in VP9's upper profiles
			for i, want := range []string{"UNSUPPORTED", "DAMAGED"} {
				pictures, err := decode(d, 1, uint64(i), units[i], faces)
				if reason(err) != want || release(pictures) > 0 {
					t.Errorf("unit %d: %v with %d pictures, want %s", i, err, len(pictures), want)
				}
			}
		})
	}
}

// seeds gives a few small good units of every codec, the key unit first.
func seeds(tb testing.TB) [][]media.AccessUnit {
	tb.Helper()
	return [][]media.AccessUnit{
		ivfUnits(clip(tb, "-f lavfi -i testsrc2=size=320x240:rate=30 -frames:v 4 -c:v libvpx -deadline realtime -cpu-used 8 -f ivf -")),
		h264Clip(tb, "320x240", "bframes=0:slices=4")[:4],
		{unit(media.JPEG, encodeJPEG(tb, noise(96, 96)))},
		{unit(media.PNG, encodePNG(tb, noise(64, 64)))},
		{unit(media.WebP, clip(tb, "-f lavfi -i testsrc2=size=322x182 -frames:v 1 -c:v libwebp -f webp -"))},
		ivfUnits(clip(tb, "-f lavfi -i testsrc2=size=320x240:rate=30 -frames:v 4 -pix_fmt yuv420p "+realtimeVP9)),
		ivfUnits(clip(tb, "-f lavfi -i testsrc2=size=320x240:rate=30 -frames:v 4 -pix_fmt yuv420p "+realtimeAV1)),
		h265Clip(tb, "320x240", "bframes=0:slices=2")[:4],
	}
}

// checkHostile feeds a unit that may be anything. Whatever comes of it has a name that says so, and the edge's side stays well.
func checkHostile(tb testing.TB, d *decoder.Decoder, stream uint32, tag uint64, u media.AccessUnit) {
	tb.Helper()
	pictures, err := decode(d, stream, tag, u, faces)
	release(pictures)
	if r := reason(err); r != "" && r != "DECODER" && r != "DAMAGED" && r != "UNSUPPORTED" && r != "OVERLOADED" && r != "TOO_LARGE" {
		tb.Fatal(err)
	}
}

// TestMutatedUnits feeds units with random damage; good units decode afterwards.
func TestMutatedUnits(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	d, all := open(t, nil), seeds(t)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		for i, u := range all[round%len(all)] {
			u.Data = mutate(random, u.Data)
			checkHostile(t, d, uint32(round%len(all)), uint64(round*8+i), u)
		}
	}
	pictures, err := decode(d, 99, 1, all[3][0], faces)
	if release(pictures) != 1 || err != nil {
		t.Errorf("a good picture afterwards: %v", err)
	}
}

// FuzzDecode feeds any bytes as a key unit to the sandboxed process, with a new process when one has crashed too often.
func FuzzDecode(f *testing.F) {
	for i, units := range seeds(f) {
		f.Add(uint8(i), units[0].Data)
	}
	var d *decoder.Decoder
	defer func() {
		if d != nil {
			_ = d.Close()
		}
	}()
	tag := uint64(0)
	f.Fuzz(func(t *testing.T, codec uint8, data []byte) {
		if d == nil || d.PID() == 0 {
			if d != nil {
				_ = d.Close()
			}
			var err error
			if d, err = decoder.New(decoder.Config{Path: program}); err != nil {
				t.Fatal(err)
			}
		}
		tag++
		checkHostile(t, d, uint32(codec%8), tag, unit(media.VP8+media.Codec(codec%8), data))
	})
}

// TestMissingReferences takes a unit out of a stream: a decoder that would guess must not be asked, and one that is asked must not crash.
func TestMissingReferences(t *testing.T) {
	for name, units := range map[string][]media.AccessUnit{"VP9": vp9Clip(t), "AV1": av1Clip(t), "H.265": h265Clip(t, "1280x720", "bframes=0")} {
		t.Run(name, func(t *testing.T) {
			d := open(t, nil)
			for i, u := range units {
				if i == 0 {
					continue // the key frame, so that the first pictures have nothing to refer to
				}
				pictures, err := decode(d, 1, uint64(i), u, faces)
				want := "DAMAGED"
				if i >= 15 {
					want = ""
				}
				if got, n := reason(err), release(pictures); got != want || (n == 1) != (want == "") {
					t.Fatalf("unit %d: %q with %d pictures (%v), want %q", i, got, n, err, want)
				}
			}
			// Called a key frame, it comes to the decoder, which has to notice.
			for _, u := range units[1:3] {
				u.Key = true
				d := open(t, nil)
				if pictures, err := decode(d, 1, 1, u, faces); reason(err) != "DECODER" || release(pictures) > 0 {
					t.Errorf("a picture without its reference: %v", err)
				}
			}
		})
	}
}

// mutate changes, cuts or repeats some bytes.
func mutate(random *rand.Rand, data []byte) []byte {
	out := slices.Clone(data)
	for range 1 + random.IntN(8) {
		switch i := random.IntN(len(out)); random.IntN(4) {
		case 0, 1:
			out[i] = byte(random.Uint32())
		case 2:
			out = out[:max(i, 16)]
		default:
			j := min(i+random.IntN(64), len(out))
			out = slices.Concat(out[:j], out[i:])
		}
	}
	return out
}
