// Package depacket puts pictures together again: an Assembler turns one source's RTP packets, in order, into access units, and a Gate
// decides which of these can be decoded without a picture that was never there.
//
// Both are single-threaded values that read no clock. Payload formats: VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184) in packetization
// modes 0 and 1, H.265 (RFC 7798) without decoding order numbers, and AV1 (the Alliance for Open Media's RTP payload format).
package depacket

import (
	"errors"
	"fmt"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// defaultMaxBytes bounds a unit when the config does not.
	defaultMaxBytes = 4 << 20
	// recycledMost is the largest buffer that an idle assembler keeps.
	recycledMost = 512 << 10
	// leastTrust and mostTrust bound the units whose markers must have been right for markers to be believed again.
	leastTrust, mostTrust = 30, 1 << 14
)

var (
	// errMalformed: the payload breaks its format although every packet arrived.
	errMalformed = errors.New("malformed payload")
	// errNoStart: the packets that the unit begins with are not here.
	errNoStart = errors.New("payload without its beginning")
)

// Unit is an access unit, or the report of one that is known to be lost.
type Unit struct {
	// AccessUnit is whole when Whole is true; otherwise Data is nil and Key is false.
	media.AccessUnit
	// Missing is true when other units may have been lost between the unit before and this one. The first unit of a stream has it set.
	Missing bool
	// MissingLayer is the lowest temporal layer of which units may be missing, where the packets account for those of the layers below.
	MissingLayer uint8
	// Layer is the unit's temporal layer where its packets tell, 0 otherwise: it depends on no unit of a higher layer.
	Layer uint8
	// Switch is true when no later unit of a higher layer depends on a unit of a higher layer before this one.
	Switch bool
	// Fresh is true when neither this unit nor a later one of its layer depends on a unit of its layer before this one.
	Fresh bool
	// Leading is true when the unit depends on units before the key frame that it follows, as pictures shown before a key frame of an open
	// group may (H.265 RASL). No other unit than such ones depends on it.
	Leading bool
	// Backward is true when the unit's picture may be shown before those of units that came before it, where recovery points depend on that.
	Backward bool
	// Disposable is true when no other unit depends on this one.
	Disposable bool
	// Recovers is true when decoding can start here although it is no key frame: after Recovery more reference units the pictures are
	// right (recovery points of H.264 and H.265, as intra-refresh streams have them instead of key frames).
	Recovers bool
	Recovery int
	// Drop and Error say why the unit is lost, in the words of its outcome: Damaged or TooLarge, or DecoderError. Both are zero when it is
	// whole.
	Drop  media.DropReason
	Error media.ErrorCode
}

// Whole tells whether the unit is complete, so that there is something to decode.
func (u *Unit) Whole() bool { return u.Drop == media.NotDropped && u.Error == media.NoError }

// format is a payload format: what an Assembler must know of a codec.
type format interface {
	// begin starts a unit; missing is true when packets may have been lost right before it.
	begin(missing bool)
	// starts tells whether a payload looks like the first of a unit.
	starts(payload []byte) bool
	// add appends a packet's payload to dst in the form that the decoder takes.
	add(dst, payload []byte) ([]byte, error)
	// picture tells whether what was added so far holds any of the picture itself.
	picture() bool
	// finish checks the unit as a whole and fills in what it says about itself. It may append to its Data.
	finish(data []byte, u *Unit) error
	// describe fills in what is known of a unit that is lost.
	describe(u *Unit)
	// follows tells whether the unit says of itself that nothing is missing before it.
	follows() bool
}

// Assembler builds the access units of one source. It is not safe for concurrent use.
type Assembler struct {
	codec  media.Codec
	max    int
	format format

	unit Unit // while open
	open bool
	skip bool // the open unit is lost and reported: what still comes of it is ignored
	gap  bool // packets may have been lost since the last one
	torn bool // packets may have been lost right before the open unit

	// ended is the unit that a marker ended last.
	ended media.RTP
	// unmarked is true once the sender has shown that its markers do not end units; then only a new timestamp does, which comes a picture later.
	unmarked bool
	// marked tells that the last packet of the open unit had the marker, unruly that another one followed on such a packet.
	marked, unruly bool
	// ruly counts the units in a row that their marker would have ended rightly; at trust markers are believed again.
	ruly, trust int

	free []byte // a buffer to write the next unit into
	size int    // what to allocate when there is none
	out  []Unit
}

// New makes an assembler for VP8, VP9, H.264, H.265 or AV1. Units larger than maxBytes are lost as TooLarge; zero means 4 MiB.
func New(codec media.Codec, maxBytes int) (*Assembler, error) {
	if maxBytes <= 0 {
		maxBytes = defaultMaxBytes
	}
	a := &Assembler{codec: codec, max: maxBytes, gap: true}
	switch codec {
	case media.VP8:
		a.format = new(vp8)
	case media.VP9:
		a.format = new(vp9)
	case media.H264:
		a.format = new(h264)
	case media.H265:
		a.format = new(h265)
	case media.AV1:
		a.format = new(av1)
	default:
		return nil, fmt.Errorf("depacket: %v is no video that comes by RTP; VP8, VP9, H264, H265 and AV1 are", codec)
	}
	return a, nil
}

// Push takes the next packet and gives the units that it completed or showed to be lost, at most two. The slice is valid until the next
// call; the units' Data are the caller's. The packet is not kept.
//
// A unit ends with the marker bit, or with the first packet of another timestamp where the sender sets no marker. Packets without payload
// are ignored.
func (a *Assembler) Push(p *rtp.Packet, arrival time.Time) []Unit {
	a.out = a.out[:0]
	if len(p.Payload) == 0 {
		return nil
	}
	id := media.RTP{Valid: true, SSRC: p.SSRC, Timestamp: p.Timestamp}
	if a.open && a.unit.RTP != id {
		a.end()
	}
	if !a.open {
		if id == a.ended && !a.format.starts(p.Payload) {
			// More of a unit that its marker had ended, and that was handed on without this. The markers cannot be believed.
			a.unmarked, a.gap = true, true
			a.ruly, a.trust = 0, min(max(2*a.trust, leastTrust), mostTrust)
			return a.out
		}
		a.begin(id, arrival)
	}
	a.gap = false
	a.unit.First, a.unit.Last = earlier(a.unit.First, arrival), later(a.unit.Last, arrival)
	a.add(p.Payload)
	a.unruly, a.marked = a.unruly || a.marked, p.Marker
	if p.Marker && !a.unmarked && (a.skip || a.format.picture()) {
		a.ended = id
		a.end()
	}
	return a.out
}

// Gap notes that packets were lost, and gives the unit that was being built, if any: it is lost. The slice is valid until the next call.
func (a *Assembler) Gap() []Unit {
	a.out = a.out[:0]
	a.gap = true
	if a.open && !a.skip {
		a.lose(media.Damaged, media.NoError)
	}
	return a.out
}

// Recycle gives a unit's Data back once nobody reads it any more, so that a later unit can be written there. Calling it is optional; the
// Data of at most one unit is kept.
func (a *Assembler) Recycle(data []byte) {
	if cap(data) > cap(a.free) && cap(data) <= recycledMost {
		a.free = data[:0]
	}
}

// begin opens a unit.
func (a *Assembler) begin(id media.RTP, arrival time.Time) {
	data := a.free
	if data == nil {
		data = make([]byte, 0, a.size)
	}
	a.unit = Unit{AccessUnit: media.AccessUnit{Codec: a.codec, Data: data, RTP: id, First: arrival, Last: arrival}, Missing: a.gap}
	a.free = nil
	a.open, a.skip, a.torn = true, false, a.gap
	a.marked, a.unruly = false, false
	a.format.begin(a.gap)
}

// add takes a payload of the open unit.
func (a *Assembler) add(payload []byte) {
	if a.skip {
		return
	}
	data, err := a.format.add(a.unit.Data, payload)
	a.unit.Data = data
	a.unit.Missing = a.unit.Missing && !a.format.follows()
	switch {
	case err != nil:
		a.loseFor(err)
	case len(data) > a.max:
		a.lose(media.TooLarge, media.NoError)
	}
}

// end closes the open unit, and hands it on if it is whole. One that holds no picture, parameter sets at most, is none.
func (a *Assembler) end() {
	a.judgeMarkers()
	if !a.skip && !a.format.picture() {
		a.gap = a.gap || a.torn
		a.Recycle(a.unit.Data)
	} else if !a.skip {
		if err := a.format.finish(a.unit.Data, &a.unit); err != nil {
			a.loseFor(err)
		} else if len(a.unit.Data) > a.max {
			a.lose(media.TooLarge, media.NoError)
		} else {
			a.out = append(a.out, a.unit)
			a.size = min(len(a.unit.Data)*5/4, recycledMost)
		}
	}
	a.unit.Data = nil
	a.open, a.skip = false, false
}

// judgeMarkers believes markers again that have been right for a while: a single packet that claims to belong to a unit which has ended, be it
// nonsense, must not cost a picture's time for ever. Each relapse doubles the while.
func (a *Assembler) judgeMarkers() {
	switch {
	case !a.unmarked:
	case a.unruly:
		a.ruly = 0
	case a.marked:
		if a.ruly++; a.ruly >= a.trust {
			a.unmarked = false
		}
	}
}

// loseFor reports the open unit as lost for what is wrong with its payload.
func (a *Assembler) loseFor(err error) {
	if errors.Is(err, errNoStart) && a.torn {
		a.lose(media.Damaged, media.NoError)
		return
	}
	a.lose(media.NotDropped, media.DecoderError)
}

// lose reports the open unit as lost and ignores what still comes of it.
func (a *Assembler) lose(drop media.DropReason, code media.ErrorCode) {
	a.Recycle(a.unit.Data)
	a.unit.Data, a.unit.Key, a.unit.Recovers, a.unit.Recovery = nil, false, false, 0
	a.unit.Drop, a.unit.Error = drop, code
	a.format.describe(&a.unit)
	a.out = append(a.out, a.unit)
	a.skip = true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
