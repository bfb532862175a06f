package decoder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// SoundOp says how the samples of a span of sound are had.
type SoundOp uint8

// The operations.
const (
	// Decode decodes Data, which is one packet, or one run of raw sound.
	Decode SoundOp = iota + 1
	// Recover gives the sound of the packet before Data's, which was lost: Opus repeats a packet in the one after it, coarsely, if the
	// sender has in-band FEC (RFC 6716 section 2.1.7). Where it does not, the sound is concealed. Data itself is still to be decoded.
	Recover
	// Conceal continues the sound through a gap: Opus fades out what it heard, other codecs give zeros.
	Conceal
)

// SoundRequest is one step of a stream's sound, steps in their order.
type SoundRequest struct {
	Stream uint32
	Codec  media.Codec
	Op     SoundOp
	// Data is empty for Conceal.
	Data []byte
	// Rate is the sampling rate wanted, in Hz, from media.MinSoundRate to media.MaxSoundRate. Each pair of Stream and Rate has a decoder of
	// its own.
	Rate int
	// Samples is the number of samples wanted: the span of media time that the step covers, at most a second. A run of raw sound is no longer
	// than that either.
	Samples int
	// SourceRate, from 4 to 192 kHz, and Channels, 1 to 8, describe raw sound. They are 0 for other codecs.
	SourceRate, Channels int
}

// soundKey names a decoder of sound.
type soundKey struct {
	stream uint32
	rate   int
}

// DecodeSound appends exactly r.Samples samples, 16 bits, one channel, to dst and gives the longer slice; on an error, of type *Error, it gives
// dst as it was. A source that gives more or fewer samples than are wanted is cut or followed by zeros. One whose rate is another lags by 34
// samples of the lower of both rates, and no more after an hour: fractions of samples are kept from step to step. Several channels are
// averaged; libopus makes one of two itself. Sound that is in opposite phase in two channels therefore vanishes.
//
// An error concerns this step only. After a crash the next step starts with a fresh decoder. The context bounds the wait for other streams'
// units.
func (d *Decoder) DecodeSound(ctx context.Context, r SoundRequest, dst []int16) ([]int16, error) {
	request, err := d.soundRequest(r)
	if err != nil {
		return dst, err
	}
	if err := d.take(ctx); err != nil {
		return dst, &Error{Drop: media.Overloaded, Err: fmt.Errorf("waiting for the decoder: %w", err)}
	}
	defer d.pass()
	if err := d.admitSound(r); err != nil {
		return dst, err
	}
	proc, err := d.running()
	if err != nil {
		if errors.Is(err, ErrClosed) {
			return dst, &Error{Drop: media.Draining, Err: err}
		}
		return dst, &Error{Code: media.DecoderError, Crashed: true, Err: err}
	}
	d.shared.setInput(nil, r.Data)
	if err := d.exchangeSound(proc, &request); err != nil {
		if d.crashed(proc, err) {
			return dst, &Error{Drop: media.Draining, Err: ErrClosed}
		}
		return dst, &Error{Code: media.DecoderError, Crashed: true, Err: err}
	}
	if failure := failed(d.sound.Status); failure != nil {
		return dst, failure
	}
	for area := d.shared.sound(r.Samples); len(area) > 0; area = area[2:] {
		dst = append(dst, int16(binary.LittleEndian.Uint16(area)))
	}
	return dst, nil
}

// soundRequest checks a step before any C code sees it, and makes its message.
func (d *Decoder) soundRequest(r SoundRequest) (ipc.SoundRequest, error) {
	ops := [...]ipc.Op{Decode: ipc.DecodeSound, Recover: ipc.RecoverSound, Conceal: ipc.ConcealSound}
	request := ipc.SoundRequest{
		Codec: r.Codec, Stream: r.Stream, Size: uint32(len(r.Data)), Rate: uint32(r.Rate), Samples: uint32(r.Samples),
		SourceRate: uint32(r.SourceRate), Channels: uint8(r.Channels),
	}
	if int(r.Op) < len(ops) {
		request.Op = ops[r.Op]
	}
	for _, n := range [...]int{r.Rate, r.Samples, r.SourceRate} {
		if n < 0 || n > 1<<20 {
			return request, &Error{Code: media.Unsupported, Err: fmt.Errorf("%d Hz or samples", n)}
		}
	}
	if r.Channels < 0 || r.Channels > ipc.MaxChannels {
		return request, &Error{Code: media.Unsupported, Err: fmt.Errorf("sound of %d channels", r.Channels)}
	}
	if len(r.Data) > d.cfg.MaxUnit {
		return request, &Error{Drop: media.TooLarge, Err: fmt.Errorf("a packet of %d bytes, at most %d are allowed", len(r.Data), d.cfg.MaxUnit)}
	}
	if err := request.Check(d.layout); err != nil {
		return request, &Error{Code: media.Unsupported, Err: err}
	}
	return request, nil
}

// admitSound bounds the decoders of sound that the process keeps. The turn is held.
func (d *Decoder) admitSound(r SoundRequest) error {
	key := soundKey{r.Stream, r.Rate}
	if _, known := d.sounds[key]; known {
		return nil
	}
	if len(d.sounds) >= maxStreams {
		return &Error{Drop: media.Overloaded, Err: fmt.Errorf("%d streams of sound are decoded already", len(d.sounds))}
	}
	d.sounds[key] = struct{}{}
	return nil
}

// exchangeSound sends a message and reads its answer into d.sound. After an error the process is not to be used again.
func (d *Decoder) exchangeSound(proc *process, request *ipc.SoundRequest) error {
	d.message = request.Append(d.message[:0])
	answer, err := proc.ask(d.message, d.cfg.Timeout)
	if err != nil {
		return err
	}
	if err := d.sound.Parse(answer); err != nil {
		return fmt.Errorf("the decoder's answer: %w", err)
	}
	if d.sound.Stream != request.Stream || d.sound.Samples != request.Samples {
		return errors.New("the decoder's answer is to another question")
	}
	return nil
}
