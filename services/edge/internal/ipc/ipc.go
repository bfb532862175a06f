// Package ipc is the language that the edge and its decoder process speak: small messages of fixed fields, little endian, each one
// datagram of a SOCK_SEQPACKET socket, beside a block of shared memory whose layout the edge alone decides. Everything is bounded, so
// that both ends work in buffers of fixed size, and every parser refuses what it does not know: the decoder process has met untrusted
// bytes, and the edge believes nothing that it says but bounded numbers.
//
// One request is answered by one reply, in order. The values are plain; none is safe for concurrent modification.
package ipc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// Version is raised when a message changes; edge and decoder must be of one build.
	Version = 4
	// MaxTargets bounds the forms in which one picture is asked for.
	MaxTargets = 16
	// MaxPictures bounds the pictures that one unit can bring out. H.264 and H.265 reorder by at most 16.
	MaxPictures = ReorderDepth + 1
	// ReorderDepth is the number of later units after which a picture that did not come out never will (H.264's
	// max_dec_frame_buffering, H.265's sps_max_num_reorder_pics).
	ReorderDepth = 16
	// MaxSide bounds the width and height of sources and payloads in pixels: VP8 and WebP can say no more.
	MaxSide = 16383
	// MaxAhead bounds the units that one request may bring before its own.
	MaxAhead = 4
	// MaxAheadBytes bounds what they take in the input area.
	MaxAheadBytes = 128 << 10
	// MaxMessage is the size of a buffer that holds any message.
	MaxMessage = 2048
)

// Expired tells whether the picture of a stream's unit can no longer come out after the given number of units. Edge and decoder process
// both apply it after each reply of status OK, so that they agree on which slots are in use.
func Expired(codec media.Codec, unit, units uint64) bool {
	return codec != media.H264 && codec != media.H265 || unit+ReorderDepth < units
}

// Op says what a request wants.
type Op uint8

// The operations.
const (
	// Decode feeds a unit to its stream.
	Decode Op = iota + 1
	// Forget frees what is kept for a stream.
	Forget
	// DecodeSound, RecoverSound and ConcealSound ask for samples: of a packet, of the packet before it, of a packet that nothing is known of.
	DecodeSound
	RecoverSound
	ConcealSound
)

// Target is a form in which a picture is wanted and the slot that takes it.
type Target struct {
	Input media.PictureInput
	Slot  uint16
}

// Ahead is a unit that is decoded only because later ones refer to it, and that waited for one of these so that they wake the process
// together. Size is its length in bytes.
type Ahead struct {
	Size uint32
	Key  bool
}

// Request is a message to the decoder process about pictures. A Forget has only Stream, and concerns its sound too.
type Request struct {
	Op     Op
	Codec  media.Codec
	Stream uint32
	// Tag names the unit; the picture that it becomes carries it.
	Tag uint64
	// Ahead are units of the stream before this one, in their order. In the input area each is followed by Padding zeros, and the last one's
	// by the unit itself.
	Ahead []Ahead
	// Size is the length of the unit in the shared memory's input area.
	Size uint32
	// Orientation is EXIF's, 1 to 8.
	Orientation uint8
	Key         bool
	// Width and Height are the upright picture's size where the unit's header tells it, else 0. A hint: it saves a step.
	Width, Height uint16
	Targets       []Target
}

// Status says how a unit fared. Any but OK ends what the stream had pending: an inter-coded stream then starts again at a key unit.
type Status uint8

// The statuses.
const (
	OK Status = iota + 1
	// Broken: the bytes cannot be decoded, or only with invented parts.
	Broken
	// Unsupported: a pixel format or size that is not converted.
	Unsupported
	// NoMemory: the process's memory limit.
	NoMemory
)

// Picture reports one picture that came out.
type Picture struct {
	Tag uint64
	// Width and Height are the upright source's size in pixels.
	Width, Height uint16
	// Done has bit i set when target i of the tag's request was written to its slot, and Sizes[i] is then the length in bytes of what was
	// written. The others are 0.
	Done    uint16
	Sizes   [MaxTargets]uint32
	Convert time.Duration
}

// Reply answers a request. Stream and Tag repeat the request's.
type Reply struct {
	Status Status
	// Ahead is the number of the units ahead that were decoded. If not all were, Status is that of the next one, and nothing after it was
	// decoded.
	Ahead    uint8
	Stream   uint32
	Tag      uint64
	Decode   time.Duration
	Pictures []Picture
}

const (
	requestHead  = 32
	aheadBytes   = 8
	targetBytes  = 10
	replyHead    = 20
	pictureBytes = 18 // and the sizes
	sizeBytes    = 4
)

var errLength = errors.New("the message's length does not fit its content")

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// Append appends the request's message to b. Targets beyond MaxTargets are the caller's mistake and make the message invalid, and so are
// units ahead beyond MaxAhead.
func (r *Request) Append(b []byte) []byte {
	b = append(b, byte(r.Op), byte(r.Codec), r.Orientation, flag(r.Key))
	b = binary.LittleEndian.AppendUint32(b, r.Stream)
	b = binary.LittleEndian.AppendUint64(b, r.Tag)
	b = binary.LittleEndian.AppendUint32(b, r.Size)
	b = binary.LittleEndian.AppendUint16(b, r.Width)
	b = binary.LittleEndian.AppendUint16(b, r.Height)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Targets)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Ahead)))
	for _, a := range r.Ahead {
		b = binary.LittleEndian.AppendUint32(b, a.Size)
		b = append(b, flag(a.Key), 0, 0, 0)
	}
	for _, t := range r.Targets {
		b = binary.LittleEndian.AppendUint16(b, uint16(t.Input.Width))
		b = binary.LittleEndian.AppendUint16(b, uint16(t.Input.Height))
		b = append(b, byte(t.Input.Fit), byte(t.Input.Color), byte(t.Input.Encoding), 0)
		b = binary.LittleEndian.AppendUint16(b, t.Slot)
	}
	return b
}

// Parse reads a request's message, reusing r.Targets and r.Ahead, and checks it against the layout. On an error r is not to be used.
func (r *Request) Parse(b []byte, l Layout) error {
	if len(b) < requestHead {
		return errLength
	}
	targets, ahead := r.Targets[:0], r.Ahead[:0]
	*r = Request{
		Op: Op(b[0]), Codec: media.Codec(b[1]), Orientation: b[2], Key: b[3] == 1,
		Stream: binary.LittleEndian.Uint32(b[4:]), Tag: binary.LittleEndian.Uint64(b[8:]), Size: binary.LittleEndian.Uint32(b[16:]),
		Width: binary.LittleEndian.Uint16(b[20:]), Height: binary.LittleEndian.Uint16(b[22:]),
	}
	n, before := binary.LittleEndian.Uint32(b[24:]), binary.LittleEndian.Uint32(b[28:])
	b = b[requestHead:]
	if n > MaxTargets || before > MaxAhead || len(b) != int(n)*targetBytes+int(before)*aheadBytes {
		return errLength
	}
	for range before {
		ahead = append(ahead, Ahead{Size: binary.LittleEndian.Uint32(b), Key: b[4] == 1})
		b = b[aheadBytes:]
	}
	for ; len(b) > 0; b = b[targetBytes:] {
		targets = append(targets, Target{
			Input: media.PictureInput{
				Width: int(binary.LittleEndian.Uint16(b)), Height: int(binary.LittleEndian.Uint16(b[2:])),
				Fit: media.Fit(b[4]), Color: media.Color(b[5]), Encoding: media.Encoding(b[6]),
			},
			Slot: binary.LittleEndian.Uint16(b[8:]),
		})
	}
	r.Targets, r.Ahead = targets, ahead
	return r.check(l)
}

func (r *Request) check(l Layout) error {
	switch {
	case r.Op != Decode && r.Op != Forget:
		return fmt.Errorf("unknown operation %d", r.Op)
	case r.Op == Forget:
		return nil
	case r.Orientation < 1 || r.Orientation > 8:
		return fmt.Errorf("orientation %d is not one of EXIF's", r.Orientation)
	case int64(r.Size) > int64(l.Unit):
		return fmt.Errorf("a unit of %d bytes is larger than the input area of %d", r.Size, l.Unit)
	}
	waited := int64(0)
	for _, a := range r.Ahead {
		if waited += int64(a.Size) + Padding; waited > MaxAheadBytes {
			return fmt.Errorf("units ahead of %d bytes do not fit their %d", waited, MaxAheadBytes)
		}
	}
	for _, t := range r.Targets {
		if err := CheckInput(t.Input, l.SlotBytes); err != nil {
			return err
		}
		if int(t.Slot) >= l.Slots {
			return fmt.Errorf("slot %d is not one of the %d", t.Slot, l.Slots)
		}
	}
	return nil
}

// CheckInput tells whether pictures can be converted to in and fit slots of the given size.
func CheckInput(in media.PictureInput, slotBytes int) error {
	switch {
	case in.Width < 1 || in.Height < 1 || in.Width > MaxSide || in.Height > MaxSide:
		return fmt.Errorf("an input of %d×%d pixels cannot be made", in.Width, in.Height)
	case in.Encoding == media.EncodedJPEG && in.Fit == 0 && in.Color == 0:
		return nil // it is no larger than its source
	case in.Encoding != media.Pixels:
		return fmt.Errorf("unknown encoding %d, or one with a fit or an order of colours", in.Encoding)
	case in.Bytes() > slotBytes:
		return fmt.Errorf("an input of %d×%d pixels takes %d bytes, a slot holds %d", in.Width, in.Height, in.Bytes(), slotBytes)
	case in.Fit != media.Letterbox && in.Fit != media.Stretch && in.Fit != media.Crop:
		return fmt.Errorf("unknown fit %d", in.Fit)
	case in.Color != media.RGB && in.Color != media.BGR:
		return fmt.Errorf("unknown order of colours %d", in.Color)
	}
	return nil
}

// Room gives the size in bytes of the largest payload in the form of in.
func (l Layout) Room(in media.PictureInput) int { return min(in.Bytes(), l.SlotBytes) }

// Append appends the reply's message to b.
func (r *Reply) Append(b []byte) []byte {
	b = append(b, byte(r.Status), byte(len(r.Pictures)), r.Ahead, 0)
	b = binary.LittleEndian.AppendUint32(b, r.Stream)
	b = binary.LittleEndian.AppendUint64(b, r.Tag)
	b = binary.LittleEndian.AppendUint32(b, micros(r.Decode))
	for _, p := range r.Pictures {
		b = binary.LittleEndian.AppendUint64(b, p.Tag)
		b = binary.LittleEndian.AppendUint16(b, p.Width)
		b = binary.LittleEndian.AppendUint16(b, p.Height)
		b = binary.LittleEndian.AppendUint16(b, p.Done)
		b = binary.LittleEndian.AppendUint32(b, micros(p.Convert))
		for i, size := range p.Sizes {
			if p.Done&(1<<i) != 0 {
				b = binary.LittleEndian.AppendUint32(b, size)
			}
		}
	}
	return b
}

// micros gives d in whole microseconds, what the messages carry.
func micros(d time.Duration) uint32 { return uint32(min(max(d.Microseconds(), 0), 1<<32-1)) }

// Parse reads a reply's message, reusing r.Pictures. It believes nothing: whatever passes has bounded sizes, and the caller compares the
// tags with what it asked. On an error r is not to be used.
func (r *Reply) Parse(b []byte) error {
	if len(b) < replyHead {
		return errLength
	}
	pictures := r.Pictures[:0]
	*r = Reply{
		Status: Status(b[0]), Ahead: b[2], Stream: binary.LittleEndian.Uint32(b[4:]), Tag: binary.LittleEndian.Uint64(b[8:]),
		Decode: time.Duration(binary.LittleEndian.Uint32(b[16:])) * time.Microsecond,
	}
	if r.Status < OK || r.Status > NoMemory {
		return fmt.Errorf("unknown status %d", r.Status)
	}
	n := int(b[1])
	if n > MaxPictures {
		return errLength
	}
	b = b[replyHead:]
	for range n {
		p, length, err := parsePicture(b)
		if err != nil {
			return err
		}
		pictures, b = append(pictures, p), b[length:]
	}
	if len(b) > 0 {
		return errLength
	}
	r.Pictures = pictures
	return nil
}

// parsePicture reads a picture's part of a reply and says how long it is.
func parsePicture(b []byte) (p Picture, length int, err error) {
	if len(b) < pictureBytes {
		return p, 0, errLength
	}
	p = Picture{
		Tag: binary.LittleEndian.Uint64(b), Width: binary.LittleEndian.Uint16(b[8:]), Height: binary.LittleEndian.Uint16(b[10:]),
		Done: binary.LittleEndian.Uint16(b[12:]), Convert: time.Duration(binary.LittleEndian.Uint32(b[14:])) * time.Microsecond,
	}
	if p.Width < 1 || p.Height < 1 || p.Width > MaxSide || p.Height > MaxSide {
		return p, 0, fmt.Errorf("a picture of %d×%d pixels cannot be", p.Width, p.Height)
	}
	length = pictureBytes + sizeBytes*bits.OnesCount16(p.Done)
	if len(b) < length {
		return p, 0, errLength
	}
	sizes := b[pictureBytes:length]
	for i := range p.Sizes {
		if p.Done&(1<<i) != 0 {
			p.Sizes[i], sizes = binary.LittleEndian.Uint32(sizes), sizes[sizeBytes:]
		}
	}
	return p, length, nil
}
