// Package sound turns the packets of one source of sound into windows of samples without a hole: how long a packet lasts, what takes the
// place of what is missing, and how the samples that a decoder makes of it are cut for a model.
//
// Everything is counted in clock ticks from the beginning of the source's [Timeline], and samples are derived from that by [Samples] alone,
// so that at every rate exactly as many samples come out as time has passed by the sender's own clock, whatever was lost on the way.
//
// What is missing is filled in, for a model that listens from window to window must not lose its place:
//
//   - Timestamps that jump while sequence numbers do not are silence that the sender did not send (DTX): zeros.
//   - A lost packet is recovered from the next one where the codec can (in-band FEC of Opus), and what was lost before it is concealed for
//     100 ms (PLC), then zeros.
//   - The zeros of a loss of more than half a second are an outage: about a window of nothing else a model could only tell what was made up.
//   - What is longer than can be filled, or goes back, begins a new segment of the timeline.
//
// The values of this package are single-threaded and read no clock.
package sound

import (
	"errors"
	"fmt"

	"github.com/sluice-dev/sluice/pkg/media"
)

var (
	// ErrMalformed is returned for bytes that no encoder can have written.
	ErrMalformed = errors.New("malformed sound")
	// ErrUnsupported is returned for a format that is not taken.
	ErrUnsupported = errors.New("unsupported sound")
)

// Samples gives how many samples at a rate have been heard after a number of ticks of a clock: the index of the sample that comes next. Both
// rates are in Hz and positive; ticks are not negative.
func Samples(ticks int64, clock, rate int) int64 {
	// Whole seconds first: ticks * rate may not fit.
	seconds, rest := ticks/int64(clock), ticks%int64(clock)
	return seconds*int64(rate) + rest*int64(rate)/int64(clock)
}

// Format is what the length of a packet depends on.
type Format struct {
	Codec media.Codec
	// Clock is the rate of the RTP timestamps in ticks a second, of raw samples their own rate. That of G.722 is 8000 although it has 16000
	// samples a second (RFC 3551 section 4.5.2).
	Clock int
	// Channels of PCMU, PCMA and raw samples; zero means one.
	Channels int
}

const (
	opusClock = 48000 // RFC 7587 section 4.1
	// maxOpus is the longest Opus packet, 120 ms (RFC 6716 section 3.4, R5).
	maxOpus = opusClock * 120 / 1000
	// maxUnframed is how many milliseconds a packet of a codec without frames may last (RFC 3551 section 4.2).
	maxUnframed = 200
)

// Ticks gives how long a packet lasts, in ticks of the format's clock, at least 1. It reads no more than the packet's first two bytes: a
// length is no promise that the packet can be decoded. Raw samples may be as long as they like, packets of RTP 200 ms at most.
func (f Format) Ticks(payload []byte) (int64, error) {
	channels := max(f.Channels, 1)
	switch f.Codec {
	case media.Opus:
		return opusTicks(payload)
	case media.PCMU, media.PCMA:
		return f.unframed(payload, channels)
	case media.G722: // two samples a byte, and one tick
		return f.unframed(payload, 1)
	case media.PCMS16:
		return whole(len(payload), 2*channels)
	case media.PCMF32:
		return whole(len(payload), 4*channels)
	default:
		return 0, fmt.Errorf("%w: %v is no codec of sound", ErrUnsupported, f.Codec)
	}
}

func (f Format) unframed(payload []byte, bytes int) (int64, error) {
	ticks, err := whole(len(payload), bytes)
	if err == nil && ticks*1000 > maxUnframed*int64(f.Clock) {
		return 0, fmt.Errorf("%w: a packet of %d ticks of %v", ErrMalformed, ticks, f.Codec)
	}
	return ticks, err
}

// whole tells how many sample frames of a size there are.
func whole(length, size int) (int64, error) {
	if length == 0 || length%size != 0 {
		return 0, fmt.Errorf("%w: %d bytes are not whole samples of %d bytes", ErrMalformed, length, size)
	}
	return int64(length / size), nil
}

// opusTicks reads the table of contents of an Opus packet (RFC 6716 section 3.1).
func opusTicks(packet []byte) (int64, error) {
	if len(packet) == 0 {
		return 0, fmt.Errorf("%w: an Opus packet without bytes", ErrMalformed)
	}
	toc := packet[0]
	frames := 1
	switch toc & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0, fmt.Errorf("%w: an Opus packet without its frame count", ErrMalformed)
		}
		frames = int(packet[1] & 0x3f)
	}
	ticks := frames * opusFrame(toc>>3)
	if ticks == 0 || ticks > maxOpus {
		return 0, fmt.Errorf("%w: an Opus packet of %d frames, %d ticks", ErrMalformed, frames, ticks)
	}
	return int64(ticks), nil
}

// opusFrame gives the ticks of a frame in one of the 32 configurations of RFC 6716 table 2.
func opusFrame(configuration byte) int {
	const ms = opusClock / 1000
	switch {
	case configuration < 12: // SILK
		return [...]int{10 * ms, 20 * ms, 40 * ms, 60 * ms}[configuration%4]
	case configuration < 16: // hybrid
		return [...]int{10 * ms, 20 * ms}[configuration%2]
	default: // CELT
		return [...]int{5 * ms / 2, 5 * ms, 10 * ms, 20 * ms}[configuration%4]
	}
}
