package peer

import "time"

// jam notices a client whose message fills the receive buffer of its association. One that is longer than the buffer can never be completed: its parts
// keep everything else out, and RFC 9260 has no word for it. Whoever sends it ignores what was announced. It is a single-threaded value.
type jam struct {
	messages uint64    // that were read
	base     uint64    // bytes that had arrived by then
	last     uint64    // bytes that have arrived
	still    time.Time // since when hardly anything arrives; zero while it does
}

const (
	// jammedFrom is how many bytes of a message have arrived by then. It is less than the buffer: what is lost on the way takes up the client's window
	// too, and in a window that is all taken each loss is repaired by a timer of its own, a packet at a time.
	jammedFrom = sctpBuffer * 3 / 4
	// jammedAfter is how long nothing may move.
	jammedAfter = 3 * time.Second
	// trickle is what arrives between two looks although the window is taken: repairs, and the client's asking whether there is room again.
	trickle = 64 << 10
)

// look takes the numbers of messages that were read and of bytes that arrived so far, and tells whether the association is jammed.
func (j *jam) look(messages, received uint64, now time.Time) bool {
	if messages != j.messages {
		*j = jam{messages: messages, base: received, last: received}
		return false
	}
	grew := received - j.last
	j.last = received
	if received-j.base < jammedFrom || grew > trickle {
		j.still = time.Time{}
		return false
	}
	if j.still.IsZero() {
		j.still = now
	}
	return now.Sub(j.still) >= jammedAfter
}
