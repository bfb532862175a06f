package decoder

import (
	"sync/atomic"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// stream is what the edge keeps of one stream. Only needKey may be touched without the Decoder's turn.
type stream struct {
	codec media.Codec
	// needKey is true when a unit was lost to the decoder, so that only a key unit can be decoded.
	needKey atomic.Bool
	// units counts the units sent.
	units uint64
	// width and height are the last picture's size as stored, the process's hint.
	width, height uint16
	// pending are the units whose pictures are awaited, oldest first. The decoder process keeps the same list by the same rules; a slot
	// is leased again only when both have forgotten it.
	pending []pending
	// ahead are units that wait for the next one.
	ahead ahead
}

type pending struct {
	tag         uint64
	unit        uint64
	orientation uint8 // EXIF's
	leases      []lease
}

// swap gives the size as stored of a picture that is upright with the given size, and the other way round.
func swap(orientation uint8, width, height uint16) (uint16, uint16) {
	if orientation >= 5 {
		return height, width
	}
	return width, height
}

// lease is a slot set aside for a target.
type lease struct {
	index int // in the caller's Targets
	input media.PictureInput
	slot  int
}

// expire ends the wait for pictures that cannot come any more.
func (s *stream) expire(shared *memory) {
	for len(s.pending) > 0 && ipc.Expired(s.codec, s.pending[0].unit, s.units) {
		s.pending[0].giveBack(shared)
		s.pending = append(s.pending[:0], s.pending[1:]...)
	}
}

// abandon ends the wait for every picture, and of what waits itself.
func (s *stream) abandon(shared *memory) {
	s.ahead.drop()
	for _, p := range s.pending {
		p.giveBack(shared)
	}
	s.pending = s.pending[:0]
}

// claim takes the entry of tag off the list.
func (s *stream) claim(tag uint64) (pending, bool) {
	for i, p := range s.pending {
		if p.tag == tag {
			s.pending = append(s.pending[:i], s.pending[i+1:]...)
			return p, true
		}
	}
	return pending{}, false
}

func (p pending) giveBack(shared *memory) {
	for _, l := range p.leases {
		shared.put(l.slot)
	}
}
