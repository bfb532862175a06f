package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Duration is a time.Duration written as 250ms or 1m30s.
type Duration time.Duration

// UnmarshalText parses a duration; negative ones are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration: write 250ms, 5s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration as it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Bytes is a number of bytes written as 4MiB, 256KiB or 1000.
type Bytes int64

// UnmarshalText parses a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := humanize.ParseBytes(string(text))
	if err != nil || v > 1<<50 {
		return fmt.Errorf("%q is no size: write 4MiB, 256KiB or a number of bytes", text)
	}
	*b = Bytes(v)
	return nil
}

// MarshalText writes the size in the largest unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		name string
		size Bytes
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && b%u.size == 0 {
			return fmt.Appendf(nil, "%d%s", b/u.size, u.name), nil
		}
	}
	return strconv.AppendInt(nil, int64(b), 10), nil
}

// Bitrate is a number of bits a second written as 8Mbps, 500kbps or 64000.
type Bitrate int64

// UnmarshalText parses a rate.
func (r *Bitrate) UnmarshalText(text []byte) error {
	number, factor := string(text), 1.0
	for suffix, f := range map[string]float64{"kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, factor = rest, f
			break
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(v >= 0 && v*factor <= 1e12) {
		return fmt.Errorf("%q is no bit rate: write 8Mbps, 500kbps or a number of bits a second", text)
	}
	*r = Bitrate(v * factor)
	return nil
}

// MarshalText writes the rate in the largest unit that divides it.
func (r Bitrate) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		name string
		size Bitrate
	}{{"Gbps", 1e9}, {"Mbps", 1e6}, {"kbps", 1e3}} {
		if r != 0 && r%u.size == 0 {
			return fmt.Appendf(nil, "%d%s", r/u.size, u.name), nil
		}
	}
	return strconv.AppendInt(nil, int64(r), 10), nil
}

// Pixels is the size of a picture written as 1920x1088.
type Pixels struct{ Width, Height int }

// UnmarshalText parses a size; both sides lie between 1 and 16384.
func (p *Pixels) UnmarshalText(text []byte) error {
	w, h, ok := strings.Cut(string(text), "x")
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	if !ok || errW != nil || errH != nil || min(width, height) < 1 || max(width, height) > 16384 {
		return fmt.Errorf("%q is no picture size: write 1920x1088", text)
	}
	*p = Pixels{Width: width, Height: height}
	return nil
}

// MarshalText writes the size as it is read.
func (p Pixels) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%dx%d", p.Width, p.Height), nil
}

// Path is the path of a file. A relative one in a configuration file is relative to that file, one in a flag or variable to the working directory.
type Path string

// Program is the name or path of a program. A bare name is left as it is, for a look-up; anything with a separator is a Path.
type Program string
