package tensor

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestPlanes parts pictures of all small sizes, from each place in them on, beside bytes that must stay as they are.
func TestPlanes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for size := range 70 {
		picture := make([]byte, size*channels)
		for i := range picture {
			picture[i] = byte(random.Uint32())
		}
		for pixel := range size + 1 {
			memory := bytes.Repeat([]byte{0xa5}, size*channels+2)
			want := bytes.Clone(memory)
			for at := pixel * channels; at < len(picture); at++ {
				plane8(want[1:len(want)-1], at, picture[at])
			}
			planes8(memory[1:len(memory)-1], pixel, picture[pixel*channels:])
			if !bytes.Equal(memory, want) {
				t.Fatalf("%d pixels from the %dth on: %x, want %x", size, pixel, memory, want)
			}
		}
	}
}

// BenchmarkPlanes parts a picture of 640×360.
func BenchmarkPlanes(b *testing.B) {
	picture := make([]byte, 640*360*channels)
	frame := make([]byte, len(picture))
	b.SetBytes(int64(len(picture)))
	for b.Loop() {
		planes8(frame, 0, picture)
	}
}
