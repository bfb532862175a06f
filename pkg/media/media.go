// Package media is Sluice's vocabulary: the nouns that the stages hand to each other. It imports the standard library only, holds no
// goroutines and never reads a clock. All types are plain values; none is safe for concurrent modification.
package media

import (
	"slices"
	"time"
)

// Codec names how a unit's bytes are compressed.
type Codec uint8

// The codecs that the edge accepts. New ones are added at the end.
const (
	CodecUnknown Codec = iota
	VP8
	H264
	JPEG
	PNG
	WebP
	VP9
	AV1
	H265
	Opus
	PCMU
	PCMA
	G722
	// PCMS16 and PCMF32 are samples as they are, little endian, channels interleaved: 16-bit integers and 32-bit floats from -1 to 1.
	PCMS16
	PCMF32
	// Raw is not compressed and not decoded: a tensor's bytes, a JSON text.
	Raw
)

var codecNames = [...]string{
	"unknown", "VP8", "H264", "JPEG", "PNG", "WebP", "VP9", "AV1", "H265", "Opus", "PCMU", "PCMA", "G722", "PCMS16", "PCMF32", "Raw",
}

// String gives the codec's name as people write it.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return codecNames[0]
}

// Intra tells whether every unit of the codec stands alone, so that a lost one costs only itself.
func (c Codec) Intra() bool { return c == JPEG || c == PNG || c == WebP || c == Raw }

// Kind gives what a stream of the codec carries; 0 for Raw, which may be a tensor or a document, and for CodecUnknown.
func (c Codec) Kind() Kind {
	switch {
	case c >= VP8 && c <= H265:
		return KindPicture
	case c >= Opus && c <= PCMF32:
		return KindSound
	default:
		return 0
	}
}

// AccessUnit is one compressed picture as it arrived, whole. Data is Annex B for H.264 and H.265 (start codes, parameter sets included when they
// arrived with it), the frame without payload descriptor for VP8, the frame or superframe of all spatial layers for VP9 (VP9 annex B), the
// temporal unit in the low-overhead format for AV1 (AV1 section 5.2), the file for images. The receiver owns Data.
type AccessUnit struct {
	Codec Codec
	Data  []byte
	// Key is true when decoding can start here.
	Key bool
	// Rotation is how far the decoded picture must be turned clockwise to be upright: 0, 90, 180 or 270 degrees. A sender says so beside the
	// picture (3GPP TS 26.114 section 7.4.5); what an image file says itself is not in it.
	Rotation uint16
	RTP      RTP
	// First and Last are the arrivals of the unit's first and last packet.
	First, Last time.Time
}

// RTP holds the RTP identity of a unit. The zero value, Valid false, belongs to units that did not come by RTP.
type RTP struct {
	Valid     bool
	SSRC      uint32
	Timestamp uint32
}

// Model describes a model that clients can ask for.
type Model struct {
	Name    string
	InputID uint32
	// Rate is the number of units a second, by media time, beyond which units are not due. It does not thin sound, whose windows are all due.
	Rate float64
	// KeyOnly is true when only key units are due. A rate then says how often one is asked for.
	KeyOnly bool
	// Deadline runs from the arrival of a unit's first packet at the edge to its outcome.
	Deadline time.Duration
	// Result is the kind of answer: detections, classes, speech, embedding, tensors or json.
	Result   string
	Ready    bool
	MaxBatch int
}

// Placement maps positions in a payload to the upright source picture: source fraction = (payload pixel - (X, Y)) / (Width, Height).
// X and Y are negative for Crop.
type Placement struct {
	X, Y, Width, Height       float64 // pixels of the payload
	SourceWidth, SourceHeight int     // pixels of the upright source
}

// Place computes where a source of the given upright size lies in an input. Sizes are in pixels and positive. The letterbox is centred;
// the scaled size is rounded to whole pixels and at least one, so that converter and router agree exactly. A file is as large as the scaled
// source.
func Place(in PictureInput, sourceWidth, sourceHeight int) Placement {
	w, h := float64(in.Width), float64(in.Height)
	p := Placement{Width: w, Height: h, SourceWidth: sourceWidth, SourceHeight: sourceHeight}
	if in.Fit == Stretch {
		return p
	}
	sx, sy := w/float64(sourceWidth), h/float64(sourceHeight)
	s := min(sx, sy)
	switch {
	case in.Encoding == EncodedJPEG:
		s = min(s, 1)
	case in.Fit == Crop:
		s = max(sx, sy)
	}
	p.Width = max(1, float64(int(float64(sourceWidth)*s+0.5)))
	p.Height = max(1, float64(int(float64(sourceHeight)*s+0.5)))
	if in.Encoding == EncodedJPEG {
		return p
	}
	p.X = float64(floorHalf(in.Width - int(p.Width)))
	p.Y = float64(floorHalf(in.Height - int(p.Height)))
	return p
}

func floorHalf(n int) int {
	if n < 0 {
		return -((-n + 1) / 2)
	}
	return n / 2
}

// Payload is a frame's bytes, in the piece in which they were made or in the pieces in which they came from the network. Empty pieces
// mean nothing. A copy of a Payload shares its memory.
type Payload [][]byte

// Len gives the number of bytes in all pieces.
func (p Payload) Len() int {
	n := 0
	for _, piece := range p {
		n += len(piece)
	}
	return n
}

// Whole gives the bytes in one piece: the only one, or else a copy of all.
func (p Payload) Whole() []byte {
	if len(p) == 1 {
		return p[0]
	}
	return slices.Concat(p...)
}

// Due names a model that a frame is due for, with the time by which its outcome must be final.
type Due struct {
	Model    string
	Deadline time.Time
}

// Frame is one unit in the form that one input takes.
type Frame struct {
	Stream   string
	Sequence uint32 // from 1, strictly rising
	InputID  uint32
	Due      []Due
	RTP      RTP
	// Captured is zero when not known.
	Captured time.Time
	Clock    Clock
	// Placement is of pictures only.
	Placement Placement
	// FirstSample is of sound only: the place of the window's first sample, its context not counted, in the stream's timeline at the input's
	// rate, modulo 2^32. Windows whose FirstSample is the one before plus the input's hop are continuous.
	FirstSample uint32
	Timings     Timings
	// Trace is where the frame belongs in the trace of its unit, not valid for most.
	Trace Trace
	// Payload belongs to whoever holds the frame until it calls Release. It may lie in memory shared with another process, so nothing may
	// be believed about it but its length.
	Payload Payload
	// Release gives Payload back; it may be nil and must be called at most once.
	Release func()
}

// Free releases the payload if it has to be released. The frame's payload is gone afterwards; calling Free twice is harmless.
func (f *Frame) Free() {
	if f.Release != nil {
		f.Release()
	}
	f.Release, f.Payload = nil, nil
}
