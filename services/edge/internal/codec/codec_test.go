//go:build cgo && linux

package codec_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/codec"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// What comes out of clips and images is tested by package decoder, through the sandbox. Here is what only the engine's caller sees.

const width, height = 48, 36

func gradient(t *testing.T) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetNRGBA(x, y, color.NRGBA{byte(5 * x), byte(7 * y), byte(x * y), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// engine makes an engine over memory outside of Go's heap, as the decoder process has it.
func engine(t *testing.T, layout ipc.Layout, pixels int) (*codec.Engine, []byte) {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, layout.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	e, err := codec.New(layout, memory, pixels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, memory
}

func TestHints(t *testing.T) {
	t.Parallel()
	layout := ipc.Layout{Unit: 1 << 16, Slots: 2, SlotBytes: 64 * 64 * 3}
	e, memory := engine(t, layout, width*height)
	file := gradient(t)
	copy(layout.Input(memory), file)
	targets := []ipc.Target{
		{Input: media.PictureInput{Width: 64, Height: 64, Fit: media.Letterbox, Color: media.RGB}, Slot: 0},
		{Input: media.PictureInput{Width: 16, Height: 16, Fit: media.Crop, Color: media.BGR}, Slot: 1},
	}
	var want [][]byte
	for tag, hint := range [][2]uint16{{width, height}, {0, 0}, {height, width}, {1, 1}, {9000, 9000}} {
		for i := range targets {
			clear(layout.Slot(memory, i))
		}
		var reply ipc.Reply
		e.Decode(&ipc.Request{
			Op: ipc.Decode, Codec: media.PNG, Stream: 1, Tag: uint64(tag), Size: uint32(len(file)), Orientation: 1, Key: true,
			Width: hint[0], Height: hint[1], Targets: targets,
		}, &reply)
		if reply.Status != ipc.OK || len(reply.Pictures) != 1 {
			t.Fatalf("hint %v: %+v", hint, reply)
		}
		if p := reply.Pictures[0]; p.Tag != uint64(tag) || p.Width != width || p.Height != height || p.Done != 3 {
			t.Errorf("hint %v: %+v", hint, p)
		}
		got := [][]byte{slices.Clone(layout.Slot(memory, 0)), slices.Clone(layout.Slot(memory, 1))}
		if want == nil {
			want = got
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("hint %v: slot %d differs from what the right hint gives", hint, i)
			}
		}
	}
}

func TestSizeIsCheckedExactly(t *testing.T) {
	t.Parallel()
	layout := ipc.Layout{Unit: 1 << 16, Slots: 1, SlotBytes: 64 * 64 * 3}
	file := gradient(t)
	for pixels, want := range map[int]ipc.Status{width * height: ipc.OK, width*height - 1: ipc.Unsupported} {
		e, memory := engine(t, layout, pixels)
		copy(layout.Input(memory), file)
		var reply ipc.Reply
		e.Decode(&ipc.Request{Op: ipc.Decode, Codec: media.PNG, Size: uint32(len(file)), Orientation: 1, Key: true}, &reply)
		if reply.Status != want {
			t.Errorf("a picture of %d pixels where %d are allowed: status %d, want %d", width*height, pixels, reply.Status, want)
		}
	}
}

// TestLineThatIsToFillASquare asks for a picture that would be millions of pixels wide before it is cut.
func TestLineThatIsToFillASquare(t *testing.T) {
	t.Parallel()
	layout := ipc.Layout{Unit: 1 << 16, Slots: 2, SlotBytes: 64 * 64 * 3}
	e, memory := engine(t, layout, 1<<20)
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 16000, 1))); err != nil {
		t.Fatal(err)
	}
	copy(layout.Input(memory), b.Bytes())
	for fit, want := range map[media.Fit]uint16{media.Crop: 0, media.Letterbox: 1} {
		var reply ipc.Reply
		e.Decode(&ipc.Request{
			Op: ipc.Decode, Codec: media.PNG, Tag: uint64(fit), Size: uint32(b.Len()), Orientation: 1, Key: true, Width: 16000, Height: 1,
			Targets: []ipc.Target{{Input: media.PictureInput{Width: 64, Height: 64, Fit: fit, Color: media.RGB}}},
		}, &reply)
		if reply.Status != ipc.OK || len(reply.Pictures) != 1 || reply.Pictures[0].Done != want {
			t.Errorf("fit %d: %+v, want one picture with done %d", fit, reply, want)
		}
	}
}

// TestUnitsCostNoMemory decodes and counts what Go allocates: a session lives for hours.
func TestUnitsCostNoMemory(t *testing.T) {
	layout := ipc.Layout{Unit: 1 << 16, Slots: 2, SlotBytes: 64 * 64 * 3}
	e, memory := engine(t, layout, 1<<20)
	file := gradient(t)
	copy(layout.Input(memory), file)
	picture := ipc.Request{Op: ipc.Decode, Codec: media.PNG, Size: uint32(len(file)), Orientation: 1, Key: true, Targets: []ipc.Target{
		{Input: media.PictureInput{Width: 64, Height: 64, Fit: media.Letterbox, Color: media.RGB}},
		{Input: media.PictureInput{Width: 64, Height: 64, Encoding: media.EncodedJPEG}, Slot: 1},
	}}
	sound := ipc.SoundRequest{Op: ipc.DecodeSound, Codec: media.PCMU, Size: 160, Rate: 44100, Samples: 882}
	var reply ipc.Reply
	var soundReply ipc.SoundReply
	if n := testing.AllocsPerRun(100, func() {
		e.Decode(&picture, &reply)
		e.Sound(&sound, &soundReply)
	}); n > 0 {
		t.Errorf("%v allocations for a picture and a step of sound", n)
	}
	if reply.Status != ipc.OK || len(reply.Pictures) != 1 || reply.Pictures[0].Done != 3 || soundReply.Status != ipc.OK {
		t.Errorf("%+v, %+v", reply, soundReply)
	}
}

// TestAV1StartsNoThreads looks for dav1d's workers, by the name that it gives them: sessions, not threads, are what fills the cores.
func TestAV1StartsNoThreads(t *testing.T) {
	t.Parallel()
	layout := ipc.Layout{Unit: 1 << 16, Slots: 1, SlotBytes: 64 * 64 * 3}
	e, memory := engine(t, layout, 1<<20)
	unit := []byte{0x12, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3d, 0x06, 0xd4, 0xfb, 0xf9, 0x00, 0x40, 0x32, 0x01, 0x10}
	copy(layout.Input(memory), unit)
	var reply ipc.Reply
	e.Decode(&ipc.Request{Op: ipc.Decode, Codec: media.AV1, Size: uint32(len(unit)), Orientation: 1, Key: true}, &reply)
	if reply.Status != ipc.Broken {
		t.Errorf("a frame that is cut: status %d, want %d", reply.Status, ipc.Broken)
	}
	names, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d threads, %v", len(names), err)
	}
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && bytes.HasPrefix(comm, []byte("dav1d")) {
			t.Errorf("there is a thread called %s", comm)
		}
	}
}
