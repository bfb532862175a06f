package ipc

import "fmt"

const (
	page = 4096
	// Padding is the number of zero bytes that follow a unit, for decoders that read ahead (AV_INPUT_BUFFER_PADDING_SIZE).
	Padding = 64
	// MaxMemory bounds the shared memory. Pages that nobody touches cost nothing, so a layout may be generous.
	MaxMemory = 1 << 30
)

// Layout divides the shared memory: an input area for one unit and those ahead of it, an area for the samples of one request, then slots for payloads, each
// beginning on a page.
type Layout struct {
	Unit      int // bytes of the largest unit
	Slots     int
	SlotBytes int // bytes of the largest payload
}

// Check tells whether the layout can be.
func (l Layout) Check() error {
	if l.Unit < 1 || l.Slots < 1 || l.SlotBytes < 1 || l.Unit > MaxMemory || l.Slots > 1024 || l.SlotBytes > MaxMemory {
		return fmt.Errorf("a unit of %d bytes and %d slots of %d bytes cannot be laid out", l.Unit, l.Slots, l.SlotBytes)
	}
	if l.Size() > MaxMemory {
		return fmt.Errorf("shared memory of %d bytes is more than the %d allowed: lower limits.pixels or limits.message", l.Size(), MaxMemory)
	}
	return nil
}

// Size gives the bytes of the whole.
func (l Layout) Size() int { return l.slot(l.Slots) }

// Input gives the input area of memory, room for units ahead and Padding included.
func (l Layout) Input(memory []byte) []byte { return memory[:l.input():l.input()] }

// Sound gives the area for samples of memory: MaxSamples of 16 bits, little endian.
func (l Layout) Sound(memory []byte) []byte {
	start := l.sound()
	return memory[start : start+MaxSamples*sampleBytes : start+MaxSamples*sampleBytes]
}

// Slot gives the slot i of memory.
func (l Layout) Slot(memory []byte, i int) []byte {
	start := l.slot(i)
	return memory[start : start+l.SlotBytes : start+l.SlotBytes]
}

func (l Layout) input() int { return MaxAheadBytes + l.Unit + Padding }

func (l Layout) sound() int { return pages(l.input()) }

func (l Layout) slot(i int) int {
	return l.sound() + pages(MaxSamples*sampleBytes) + i*pages(l.SlotBytes)
}

func pages(n int) int { return (n + page - 1) &^ (page - 1) }
