package sound

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The limits of raw samples and of files: rates in samples a second, and channels. Nothing records faster.
const (
	MinSourceRate = 4000
	MaxSourceRate = 192000
	MaxChannels   = 8
)

// Raw is sound as samples.
type Raw struct {
	// Codec is PCMS16 or PCMF32, Clock the samples a second.
	Format
	// Data are whole samples of all channels.
	Data []byte
}

// Format tags of WAVE files (RFC 2361; 0xfffe: the tag is the beginning of the sub-format).
const (
	wavePCM        = 1
	waveFloat      = 3
	waveExtensible = 0xfffe
)

// IsWAV tells whether bytes begin like a WAVE file.
func IsWAV(file []byte) bool {
	return len(file) >= 12 && string(file[:4]) == "RIFF" && string(file[8:12]) == "WAVE"
}

// ParseWAV reads a WAVE file: integers of 8, 16, 24 or 32 bits or floats of 32. Samples that are not 16 bits or floats are converted to 16
// bits, else Data aliases the file. A file whose length was not known to its writer ends with the bytes. Errors are ErrMalformed and
// ErrUnsupported.
func ParseWAV(file []byte) (Raw, error) {
	if !IsWAV(file) {
		return Raw{}, fmt.Errorf("%w: not a WAVE file", ErrMalformed)
	}
	var f wave
	known := false
	for rest := file[12:]; ; {
		if len(rest) < 8 {
			return Raw{}, fmt.Errorf("%w: a WAVE file without samples", ErrMalformed)
		}
		id, size, body := string(rest[:4]), binary.LittleEndian.Uint32(rest[4:]), rest[8:]
		if id == "data" {
			if !known {
				return Raw{}, fmt.Errorf("%w: a WAVE file without a format", ErrMalformed)
			}
			return f.samples(body, size)
		}
		if uint64(size) > uint64(len(body)) {
			return Raw{}, fmt.Errorf("%w: the end of the WAVE file is missing", ErrMalformed)
		}
		if id == "fmt " {
			var err error
			if f, err = parseWave(body[:size]); err != nil {
				return Raw{}, err
			}
			known = true
		}
		rest = body[min(len(body), int(size)+int(size&1)):] // chunks are padded to an even size
	}
}

// wave is the format chunk of a file.
type wave struct {
	tag      uint16
	channels int
	rate     uint32
	bytes    int // of a sample
}

func parseWave(chunk []byte) (wave, error) {
	if len(chunk) < 16 {
		return wave{}, fmt.Errorf("%w: a WAVE format of %d bytes", ErrMalformed, len(chunk))
	}
	le := binary.LittleEndian
	f := wave{tag: le.Uint16(chunk), channels: int(le.Uint16(chunk[2:])), rate: le.Uint32(chunk[4:])}
	frame, bits := int(le.Uint16(chunk[12:])), int(le.Uint16(chunk[14:]))
	if f.tag == waveExtensible {
		// Behind the sub-format's tag, the rest of its GUID is the same for all tags.
		if len(chunk) < 40 || !bytes.Equal(chunk[26:40], []byte("\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71")) {
			return wave{}, fmt.Errorf("%w: an unknown extensible WAVE format", ErrUnsupported)
		}
		f.tag = le.Uint16(chunk[24:])
	}
	f.bytes = bits / 8
	switch {
	case f.tag != wavePCM && f.tag != waveFloat:
		return wave{}, fmt.Errorf("%w: WAVE format %#x", ErrUnsupported, f.tag)
	case f.tag == waveFloat && bits != 32, bits%8 != 0, bits < 8, bits > 32:
		return wave{}, fmt.Errorf("%w: WAVE samples of %d bits", ErrUnsupported, bits)
	case f.channels < 1 || f.channels > MaxChannels || f.rate < MinSourceRate || f.rate > MaxSourceRate:
		return wave{}, fmt.Errorf("%w: %d channels of %d samples a second", ErrUnsupported, f.channels, f.rate)
	case frame != f.bytes*f.channels:
		return wave{}, fmt.Errorf("%w: WAVE frames of %d bytes for %d samples of %d", ErrMalformed, frame, f.channels, f.bytes)
	}
	return f, nil
}

// unknownSize is from where on the size of a chunk means that its writer did not know it: programs that write to a pipe put 2 GiB or 4 GiB.
const unknownSize = 0x7fff0000

// samples gives what a data chunk has.
func (f wave) samples(body []byte, size uint32) (Raw, error) {
	if size < unknownSize {
		if uint64(size) > uint64(len(body)) {
			return Raw{}, fmt.Errorf("%w: the end of the WAVE file is missing", ErrMalformed)
		}
		body = body[:size]
	}
	body = body[:len(body)-len(body)%(f.bytes*f.channels)]
	if len(body) == 0 {
		return Raw{}, fmt.Errorf("%w: a WAVE file without samples", ErrMalformed)
	}
	out := Raw{Format: Format{Codec: media.PCMS16, Clock: int(f.rate), Channels: f.channels}, Data: body}
	switch {
	case f.tag == waveFloat:
		out.Codec = media.PCMF32
	case f.bytes == 1:
		out.Data = make([]byte, 2*len(body))
		for i, b := range body { // of which 128 is silence
			out.Data[2*i+1] = b ^ 0x80
		}
	case f.bytes > 2:
		out.Data = make([]byte, 0, len(body)/f.bytes*2)
		for ; len(body) > 0; body = body[f.bytes:] {
			out.Data = append(out.Data, body[f.bytes-2], body[f.bytes-1])
		}
	}
	return out, nil
}
