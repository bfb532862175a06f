package websocket

import (
	"sync"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
)

// message is memory that a message of a server was read into. It is used again and again.
type message struct{ data []byte }

// reply is what became of a call: an answer, with the message that it aliases or nil, or an error.
type reply struct {
	answer  *answer
	message *message
	err     error
}

// call is a request on its way. Its bytes are taken by the connection's writer while its caller waits, and the caller may leave at any time: what was not taken then goes
// as zeros, since the message has begun and must have its length.
type call struct {
	id    uint64
	kind  websocket.MessageType
	reply chan reply // takes one without waiting

	mu      sync.Mutex
	gone    bool
	head    []byte   // what is left of it; the call's own memory
	payload [][]byte // what is left of it; the caller's memory
	rest    int      // bytes left of the payload
}

// newCall makes a call of a message's first part and of the tensors that follow.
func newCall(id uint64, kind websocket.MessageType, head []byte, inputs []media.RawTensor) *call {
	c := &call{id: id, kind: kind, reply: make(chan reply, 1), head: head}
	for _, input := range inputs {
		c.payload = append(c.payload, input.Data)
		c.rest += len(input.Data)
	}
	return c
}

// begin tells whether the message should be written at all, and how long it is.
func (c *call) begin() (size int, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.head) + c.rest, !c.gone
}

// next copies the next bytes of the message into a chunk and tells how many; none at its end.
func (c *call) next(chunk []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(chunk, c.head)
	c.head = c.head[n:]
	for n < len(chunk) && c.rest > 0 {
		var taken int
		switch {
		case c.gone:
			taken = min(len(chunk)-n, c.rest)
			clear(chunk[n : n+taken])
		case len(c.payload[0]) == 0:
			c.payload = c.payload[1:]
		default:
			taken = copy(chunk[n:], c.payload[0])
			c.payload[0] = c.payload[0][taken:]
		}
		n, c.rest = n+taken, c.rest-taken
	}
	return n
}

// leave ends the caller's part: its memory is not read any more.
func (c *call) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone, c.payload = true, nil
}
