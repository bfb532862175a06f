package session

import (
	"encoding/binary"
	"errors"
	"time"
)

// A message larger than a data channel takes whole comes in chunks: a header of four big-endian 32-bit words (chunkMagic, the message's id,
// the chunk's index, the number of chunks) and then the bytes.
const (
	chunkMagic  = "SLC1"
	chunkHeader = 16
	// maxChunks bounds the bookkeeping of one message; 4 MiB in chunks of 1 KiB.
	maxChunks = 4096
	// maxPartial is how many messages of one channel may be incomplete at once: two, so that an unordered channel may overlap them.
	maxPartial = 2
	// chunkPatience is how long after its first chunk a message may take to come whole: longer than any model's deadline, even for 4 MiB by
	// a slow way.
	chunkPatience = 10 * time.Second
)

var (
	errChunkMalformed = errors.New("malformed chunk")
	errChunksTooLarge = errors.New("message in chunks too large")
)

// partial is a message of which some chunks have come.
type partial struct {
	id     uint32
	count  uint32
	chunks map[uint32][]byte // by index
	bytes  int
	first  time.Time
	// refused marks a message that was given up; the rest of its chunks is ignored.
	refused bool
}

// reassembler puts the chunks of one channel together. It is a single-threaded value; its memory is bounded by limit × maxPartial.
type reassembler struct {
	limit    int // bytes of a message
	messages []*partial
}

// isChunk tells whether a message is one chunk of a larger one.
func isChunk(message []byte) bool {
	return len(message) >= len(chunkMagic) && string(message[:len(chunkMagic)]) == chunkMagic
}

// push takes a chunk, whose bytes it copies, and gives the whole message when it was the last one missing, with the arrival of its first
// chunk. abandoned is how many incomplete messages had to make room. errChunksTooLarge is returned once for a message beyond the limit.
func (r *reassembler) push(chunk []byte, arrival time.Time) (whole []byte, first time.Time, abandoned int, err error) {
	if len(chunk) < chunkHeader {
		return nil, arrival, 0, errChunkMalformed
	}
	id, index, count := binary.BigEndian.Uint32(chunk[4:]), binary.BigEndian.Uint32(chunk[8:]), binary.BigEndian.Uint32(chunk[12:])
	if count == 0 || index >= count {
		return nil, arrival, 0, errChunkMalformed
	}
	m := r.find(id)
	if m == nil {
		m = &partial{id: id, count: count, chunks: make(map[uint32][]byte), first: arrival, refused: count > maxChunks}
		abandoned = r.add(m)
		if m.refused {
			return nil, arrival, abandoned, errChunksTooLarge
		}
	}
	body := chunk[chunkHeader:]
	_, twice := m.chunks[index]
	switch {
	case m.refused:
		return nil, arrival, abandoned, nil
	case count != m.count:
		return nil, arrival, abandoned, errChunkMalformed
	case twice:
		return nil, arrival, abandoned, nil
	case m.bytes+len(body) > r.limit:
		m.refused, m.chunks = true, nil
		return nil, m.first, abandoned, errChunksTooLarge
	}
	m.chunks[index] = append(make([]byte, 0, len(body)), body...)
	m.bytes += len(body)
	if len(m.chunks) < int(count) {
		return nil, m.first, abandoned, nil
	}
	r.remove(m)
	whole = make([]byte, 0, m.bytes)
	for i := range count {
		whole = append(whole, m.chunks[i]...)
	}
	return whole, m.first, abandoned, nil
}

// expire gives up the messages whose time is over, and tells how many live ones that were.
func (r *reassembler) expire(now time.Time) (abandoned int) {
	if at := r.next(); at.IsZero() || now.Before(at) {
		return 0
	}
	left := r.messages[:0]
	for _, m := range r.messages {
		switch {
		case now.Before(m.first.Add(chunkPatience)):
			left = append(left, m)
		case !m.refused:
			abandoned++
		}
	}
	clear(r.messages[len(left):])
	r.messages = left
	return abandoned
}

// next is when expire has something to do, zero for never.
func (r *reassembler) next() time.Time {
	if len(r.messages) == 0 {
		return time.Time{}
	}
	return r.messages[0].first.Add(chunkPatience) // they stand in the order in which they began
}

// clear gives up all messages, and tells how many live ones that were.
func (r *reassembler) clear() (abandoned int) {
	for _, m := range r.messages {
		if !m.refused {
			abandoned++
		}
	}
	r.messages = nil
	return abandoned
}

func (r *reassembler) find(id uint32) *partial {
	for _, m := range r.messages {
		if m.id == id {
			return m
		}
	}
	return nil
}

// add makes room for a message and tells how many live ones that cost.
func (r *reassembler) add(m *partial) (abandoned int) {
	if len(r.messages) == maxPartial {
		if !r.messages[0].refused {
			abandoned = 1
		}
		r.messages = append(r.messages[:0], r.messages[1:]...)
	}
	r.messages = append(r.messages, m)
	return abandoned
}

func (r *reassembler) remove(m *partial) {
	for i := range r.messages {
		if r.messages[i] == m {
			r.messages = append(r.messages[:i], r.messages[i+1:]...)
			return
		}
	}
}
