// Package clip reads files of video as access units, the way a camera would have encoded them, and files of sound as packets.
package clip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"github.com/sluice-dev/sluice/pkg/media"
)

// maxBytes bounds a clip: it is held in memory so that it can be sent in a loop by many streams.
const maxBytes = 512 << 20

// What is believed to be a rate, in frames a second.
const minRate, maxRate = 0.1, 240

// ErrUnreadable is wrapped by every error about the content of a file.
var ErrUnreadable = errors.New("unreadable clip")

// Clip is what a container holds: access units or packets in order of sending. It is immutable and safe for concurrent use.
type Clip struct {
	Codec media.Codec
	// Sound is nil for video.
	Sound *Sound
	// Units are access units: a VP8 or VP9 frame each, an H.264 or H.265 access unit in Annex B, or an AV1 temporal unit in the low-overhead format;
	// packets of Opus, or samples for a fiftieth of a second.
	Units [][]byte
	// Rate is in units a second; 0 when the file does not tell.
	Rate float64
}

// Open reads an IVF file with VP8, VP9 or AV1 (.ivf) or a raw H.264 (.h264, .264) or H.265 stream (.h265, .265, .hevc), Ogg with Opus
// (.ogg, .opus) or WAV. Anything else is taken for video and goes through ffmpeg, which must be installed.
func Open(ctx context.Context, path string) (*Clip, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 8)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, fmt.Errorf("%w: %s holds less than 8 bytes", ErrUnreadable, path)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var c *Clip
	switch extension := strings.ToLower(filepath.Ext(path)); {
	case string(head[:4]) == "DKIF":
		c, err = ReadIVF(f)
	case string(head[:4]) == "OggS":
		c, err = ReadOgg(f)
	case string(head[:4]) == "RIFF" && extension == ".wav":
		c, err = ReadWAV(f)
	case extension == ".h264" || extension == ".264":
		c, err = ReadH264(f)
	case extension == ".h265" || extension == ".265" || extension == ".hevc":
		c, err = ReadH265(f)
	default:
		c, err = transcode(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ReadIVF reads an IVF container with VP8, VP9 or AV1 to its end.
func ReadIVF(r io.Reader) (*Clip, error) {
	reader, header, err := ivfreader.NewWith(r)
	if err != nil {
		return nil, fmt.Errorf("%w: IVF header: %w", ErrUnreadable, err)
	}
	codec, ok := map[string]media.Codec{"VP80": media.VP8, "VP90": media.VP9, "AV01": media.AV1}[header.FourCC]
	if !ok {
		return nil, fmt.Errorf("%w: the IVF file holds %q; VP80, VP90 and AV01 are supported", ErrUnreadable, header.FourCC)
	}
	c := &Clip{Codec: codec}
	var first, last uint64
	for size := 0; ; {
		unit, frame, err := reader.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			c.Rate = rate(header, len(c.Units), last-first)
			return c.checked()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: IVF frame %d: %w", ErrUnreadable, len(c.Units)+1, err)
		}
		if size += len(unit); size > maxBytes {
			return nil, fmt.Errorf("%w: more than %d MiB", ErrUnreadable, maxBytes>>20)
		}
		if last = frame.Timestamp; len(c.Units) == 0 {
			first = last
		}
		c.Units = append(c.Units, unit)
	}
}

// rate gives the frames a second of an IVF file whose first and last frame lie so far apart by the reader's timestamps; 0 when they do not tell. The header alone
// does not: a file that was copied out of another container has that one's ticks, a thousand a second say.
func rate(header *ivfreader.IVFFileHeader, frames int, apart uint64) float64 {
	// The reader has multiplied the ticks by the ticks a second, not divided.
	perSecond := float64(header.TimebaseDenominator) / float64(header.TimebaseNumerator)
	r := float64(frames-1) / float64(apart) * perSecond * perSecond
	if !(r >= minRate && r <= maxRate) { // also without a second frame, with one time for all, and backwards
		return 0
	}
	return r
}

func (c *Clip) checked() (*Clip, error) {
	if len(c.Units) == 0 {
		what := "picture"
		if c.Sound != nil {
			what = "sound"
		}
		return nil, fmt.Errorf("%w: no %s %s in it", ErrUnreadable, c.Codec, what)
	}
	return c, nil
}
