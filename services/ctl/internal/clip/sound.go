package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sound"
)

// OpusClock is the rate of Opus's clock, in ticks a second, whatever was encoded (RFC 7587 section 4.1).
const OpusClock = 48000

// wavUnit is how much of a WAV file goes into a unit, in units a second.
const wavUnit = 50

// Sound is what a clip of sound has besides its units.
type Sound struct {
	// Clock is the clock in which sound is counted, in ticks a second: OpusClock, or the sample rate.
	Clock int
	// Channels are interleaved.
	Channels int
	// Ticks is the length of each unit.
	Ticks []int
	// Skip is how many ticks at the beginning are the encoder's, not the clip's (RFC 7845 section 4.2).
	Skip int
}

// Silent tells whether a packet of Opus holds nothing but the news that there is silence (DTX). Browsers do not send such packets.
func Silent(packet []byte) bool { return len(packet) <= 2 }

// ReadOgg reads an Ogg file with one stream of Opus (RFC 7845) to its end.
func ReadOgg(r io.Reader) (*Clip, error) {
	packets, err := oggPackets(io.LimitReader(r, maxBytes))
	if err != nil {
		return nil, err
	}
	if len(packets) < 2 || len(packets[0]) < 19 || string(packets[0][:8]) != "OpusHead" || !bytes.HasPrefix(packets[1], []byte("OpusTags")) {
		return nil, fmt.Errorf("%w: the Ogg file holds no Opus: ffmpeg -i FILE -vn -c:a libopus sound.ogg makes one", ErrUnreadable)
	}
	c := &Clip{
		Codec: media.Opus, Units: packets[2:],
		Sound: &Sound{Clock: OpusClock, Channels: int(packets[0][9]), Skip: int(binary.LittleEndian.Uint16(packets[0][10:]))},
	}
	format := sound.Format{Codec: media.Opus, Clock: OpusClock, Channels: c.Sound.Channels}
	for i, packet := range c.Units {
		ticks, err := format.Ticks(packet)
		if err != nil {
			return nil, fmt.Errorf("%w: packet %d: %w", ErrUnreadable, i+1, err)
		}
		c.Sound.Ticks = append(c.Sound.Ticks, int(ticks))
	}
	return c.checked()
}

// oggPackets gives the packets of an Ogg stream (RFC 3533 section 6). Pages of more than one stream are an error.
func oggPackets(r io.Reader) (packets [][]byte, err error) {
	var serial []byte
	var partial []byte
	for header, page := make([]byte, 27), 1; ; page++ {
		if _, err := io.ReadFull(r, header); errors.Is(err, io.EOF) {
			return packets, nil
		} else if err != nil || string(header[:4]) != "OggS" {
			return nil, fmt.Errorf("%w: Ogg page %d is broken off, or none", ErrUnreadable, page)
		}
		if serial == nil {
			serial = bytes.Clone(header[14:18])
		}
		if !bytes.Equal(serial, header[14:18]) {
			return nil, fmt.Errorf("%w: the Ogg file holds several streams", ErrUnreadable)
		}
		lacing := make([]byte, header[26])
		if _, err := io.ReadFull(r, lacing); err != nil {
			return nil, fmt.Errorf("%w: Ogg page %d is broken off", ErrUnreadable, page)
		}
		for _, n := range lacing {
			segment := make([]byte, n)
			if _, err := io.ReadFull(r, segment); err != nil {
				return nil, fmt.Errorf("%w: Ogg page %d is broken off", ErrUnreadable, page)
			}
			// A segment of 255 bytes goes on in the next one, be it on the next page.
			if partial = append(partial, segment...); n < 255 {
				packets = append(packets, partial)
				partial = nil
			}
		}
	}
}

// ReadWAV reads a RIFF WAVE file with 16-bit samples to its end.
func ReadWAV(r io.Reader) (*Clip, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes))
	if err != nil {
		return nil, err
	}
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WAVE" {
		return nil, fmt.Errorf("%w: no RIFF WAVE file", ErrUnreadable)
	}
	c := &Clip{Codec: media.PCMS16, Rate: wavUnit}
	for rest := data[12:]; len(rest) >= 8; {
		kind, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:]
		body = body[:min(size, len(body))] // ffmpeg writes a size of 0xffffffff where it cannot go back
		switch {
		case kind == "fmt " && len(body) >= 16:
			format, bits := binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[14:])
			if (format != 1 && format != 0xfffe) || bits != 16 {
				return nil, fmt.Errorf("%w: WAV files are taken with 16-bit samples: ffmpeg -i FILE -c:a pcm_s16le sound.wav makes one", ErrUnreadable)
			}
			c.Sound = &Sound{Clock: int(binary.LittleEndian.Uint32(body[4:])), Channels: int(binary.LittleEndian.Uint16(body[2:]))}
		case kind == "data" && c.Sound != nil:
			return c.cut(body)
		}
		rest = rest[min(len(rest), 8+size+size&1):]
	}
	return nil, fmt.Errorf("%w: the WAV file lacks its format or its data", ErrUnreadable)
}

// cut makes units of samples; what is left at the end is not a whole one and is left out.
func (c *Clip) cut(samples []byte) (*Clip, error) {
	ticks := c.Sound.Clock / wavUnit
	size := ticks * 2 * c.Sound.Channels
	if ticks == 0 || size == 0 || c.Sound.Channels > 8 || c.Sound.Clock > 384_000 {
		return nil, fmt.Errorf("%w: WAV of %d samples a second in %d channels", ErrUnreadable, c.Sound.Clock, c.Sound.Channels)
	}
	c.Rate = float64(c.Sound.Clock) / float64(ticks)
	for ; len(samples) >= size; samples = samples[size:] {
		c.Units = append(c.Units, samples[:size:size])
		c.Sound.Ticks = append(c.Sound.Ticks, ticks)
	}
	return c.checked()
}
