package ipc

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// What sound may be.
const (
	// MinSourceRate and MaxSourceRate bound the sampling rates of raw sound, in Hz. What is wanted is bounded by package media.
	MinSourceRate = 4000
	MaxSourceRate = 192000
	// MaxChannels bounds the channels of raw sound.
	MaxChannels = 8
	// MaxSamples bounds the samples that one request gives: a second at the highest rate that can be wanted. No request covers more than a
	// second.
	MaxSamples = media.MaxSoundRate
	// MaxPacket is the size in bytes of the largest packet of compressed sound: what RTP over UDP can carry.
	MaxPacket = 1 << 16

	sampleBytes       = 2
	soundRequestBytes = 24
	soundReplyBytes   = 16
)

// SoundRequest is a message to the decoder process that asks for samples. Its Op is Sound, Recover or Conceal. The samples come in the
// shared memory's sound area. Each pair of Stream and Rate is decoded by itself.
type SoundRequest struct {
	Op     Op
	Codec  media.Codec
	Stream uint32
	// Size is the length of the packet in the shared memory's input area; of a Conceal 0.
	Size uint32
	// Rate is wanted, in Hz, and Samples is how many samples of it: exactly so many come.
	Rate, Samples uint32
	// SourceRate, in Hz, and Channels describe raw sound; 0 for other codecs, which say so themselves.
	SourceRate uint32
	Channels   uint8
}

// SoundReply answers a SoundRequest. Stream and Samples repeat the request's.
type SoundReply struct {
	Status  Status
	Stream  uint32
	Samples uint32
	Decode  time.Duration
}

// OpOf gives the operation of a request's message, which says which kind of request it is; 0 for an empty one.
func OpOf(message []byte) Op {
	if len(message) == 0 {
		return 0
	}
	return Op(message[0])
}

// Sound tells whether the operation is that of a SoundRequest.
func (o Op) Sound() bool { return o >= DecodeSound && o <= ConcealSound }

// Append appends the request's message to b.
func (r *SoundRequest) Append(b []byte) []byte {
	b = append(b, byte(r.Op), byte(r.Codec), r.Channels, 0)
	for _, v := range [...]uint32{r.Stream, r.Size, r.Rate, r.Samples, r.SourceRate} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// Parse reads a request's message and checks it against the layout. On an error r is not to be used.
func (r *SoundRequest) Parse(b []byte, l Layout) error {
	if len(b) != soundRequestBytes {
		return errLength
	}
	*r = SoundRequest{
		Op: Op(b[0]), Codec: media.Codec(b[1]), Channels: b[2],
		Stream: binary.LittleEndian.Uint32(b[4:]), Size: binary.LittleEndian.Uint32(b[8:]), Rate: binary.LittleEndian.Uint32(b[12:]),
		Samples: binary.LittleEndian.Uint32(b[16:]), SourceRate: binary.LittleEndian.Uint32(b[20:]),
	}
	return r.Check(l)
}

// Check tells whether the request can be answered in memory of the given layout.
func (r *SoundRequest) Check(l Layout) error {
	width := map[media.Codec]int64{media.PCMS16: 2, media.PCMF32: 4}[r.Codec]
	raw, largest := width > 0, int64(MaxPacket)
	if raw {
		largest = width * int64(r.SourceRate) * int64(r.Channels)
	}
	largest = min(largest, int64(l.Unit))
	switch {
	case !r.Op.Sound():
		return fmt.Errorf("unknown operation %d", r.Op)
	case r.Codec.Kind() != media.KindSound:
		return fmt.Errorf("codec %v is not sound", r.Codec)
	case int64(r.Size) > largest:
		return fmt.Errorf("a packet of %d bytes, at most %d are possible", r.Size, largest)
	case r.Rate < media.MinSoundRate || r.Rate > media.MaxSoundRate:
		return fmt.Errorf("a rate of %d Hz is wanted, possible are %d to %d", r.Rate, media.MinSoundRate, media.MaxSoundRate)
	case r.Samples < 1 || r.Samples > r.Rate:
		return fmt.Errorf("%d samples are wanted, possible are 1 to %d, a second", r.Samples, r.Rate)
	case raw && (r.SourceRate < MinSourceRate || r.SourceRate > MaxSourceRate):
		return fmt.Errorf("raw sound of %d Hz, possible are %d to %d", r.SourceRate, MinSourceRate, MaxSourceRate)
	case raw && (r.Channels < 1 || r.Channels > MaxChannels):
		return fmt.Errorf("raw sound of %d channels, possible are 1 to %d", r.Channels, MaxChannels)
	case !raw && (r.SourceRate != 0 || r.Channels != 0):
		return fmt.Errorf("%v says its rate and channels itself", r.Codec)
	}
	return nil
}

// Append appends the reply's message to b.
func (r *SoundReply) Append(b []byte) []byte {
	b = append(b, byte(r.Status), 0, 0, 0)
	for _, v := range [...]uint32{r.Stream, r.Samples, micros(r.Decode)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// Parse reads a reply's message. The caller compares stream and samples with what it asked. On an error r is not to be used.
func (r *SoundReply) Parse(b []byte) error {
	if len(b) != soundReplyBytes {
		return errLength
	}
	*r = SoundReply{
		Status: Status(b[0]), Stream: binary.LittleEndian.Uint32(b[4:]), Samples: binary.LittleEndian.Uint32(b[8:]),
		Decode: time.Duration(binary.LittleEndian.Uint32(b[12:])) * time.Microsecond,
	}
	if r.Status < OK || r.Status > NoMemory {
		return fmt.Errorf("unknown status %d", r.Status)
	}
	return nil
}
