// Package trace makes spans of what happens to single units, for OpenTelemetry.
//
// Which units are traced, and the ids of their traces, follow from session, stream and sequence alone, so that every part of Sluice says the same of a unit without asking, a
// trace can be found by what a client was told, and a unit that is not traced costs a few multiplications and no memory. The edge decides; what it says travels with the frame.
//
//	unit                      the edge: from the first packet's arrival until the last outcome is told
//	├ receive                 until the last packet's arrival
//	├ order                   until it was its turn in the stream, and decided for which models it is due
//	├ turn                    until decoding began: for older units, for other sessions, for the decoder
//	├ decode, convert         in the session's decoder
//	├ uplink                  from when a frame is ready until its last answer
//	│ ├ slot                  until the frame may be sent
//	│ └ frame                 the router: from the frame's arrival until its last outcome
//	│   ├ intake              its checks
//	│   ├ queue               for each model, until it is sent with a batch or dropped
//	│   ├ infer               for each batch that it is sent with; linked to batch
//	│   └ batch               only in the trace of the first traced frame of a batch, linked to all frames of it
//	│     ├ gather            the input tensor is made
//	│     ├ backend           the call to the model server, which is told of the span by its traceparent
//	│     └ reply             the answer is taken apart
//	├ outcome                 for each model, until the outcome is with the client's sinks
//	└ deliver                 for each sink, until the outcome is written
package trace

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Session names the traces of one session's units. It is immutable.
type Session struct{ high, low uint64 }

// Of gives the traces of a session by its public id.
func Of(session string) Session {
	sum := sha256.Sum256([]byte(session))
	return Session{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}

// Unit gives the trace of a unit, with the span that stands for all of it. It is valid, and different for every unit, as far as 128 bits that look random can be.
func (s Session) Unit(stream string, sequence uint32) (t media.Trace) {
	name := hash(stream)
	high := mix(s.high ^ bits.RotateLeft64(name, 32) + uint64(sequence))
	low := mix(s.low ^ name ^ uint64(sequence)<<32)
	binary.BigEndian.PutUint64(t.ID[:8], high)
	binary.BigEndian.PutUint64(t.ID[8:], low|1) // never zero; the bit that Share does not look at
	binary.BigEndian.PutUint64(t.Span[:], mix(high^low)|1)
	return t
}

// hash is FNV-1a.
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}

// mix spreads a number over all bits, without two numbers becoming one (the finalizer of SplitMix64, by Steele, Lea and Flood).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Share is the part of all units that is traced. The zero value traces none.
type Share struct{ bound uint64 }

// ShareOf gives the share of a fraction, from 0 for none to 1 for all.
func ShareOf(fraction float64) Share {
	return Share{uint64(min(max(fraction, 0), 1) * (1 << 63))}
}

// Takes tells whether a trace is in the share, by the same rule as OpenTelemetry's TraceIDRatioBased: what is in a smaller share is in every larger one too.
func (s Share) Takes(t media.Trace) bool {
	return binary.BigEndian.Uint64(t.ID[8:])>>1 < s.bound
}
