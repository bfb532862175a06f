package session

import (
	"errors"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// messages is where a stream of messages comes from; *peer.Channel is one.
type messages interface {
	// Read gives the next message, whose bytes are valid until the next call, and its size.
	Read() (message []byte, text bool, n int, err error)
	// SetReadDeadline makes Read give up then, with peer.ErrNothingCame; zero is never.
	SetReadDeadline(at time.Time) error
}

// messageTaker is told what comes on a channel. Each message is told once, by either method.
type messageTaker interface {
	// whole takes a message. Its first and its last byte arrived at the times given; its bytes may be kept only where owned says so.
	whole(message []byte, first, last time.Time, owned bool)
	// lost counts a message that is given up, with a reason or a code. size is what of it has come.
	lost(at time.Time, reason media.DropReason, code media.ErrorCode, size int)
}

// messageReader reads a data channel to its end and puts together what comes in chunks. One goroutine runs it.
type messageReader struct {
	from   messages
	to     messageTaker
	limit  int // bytes of a message
	chunks reassembler
	until  time.Time // what Read was told last
}

func newMessageReader(from messages, to messageTaker, limit int) *messageReader {
	return &messageReader{from: from, to: to, limit: limit, chunks: reassembler{limit: limit}}
}

// run goes on until the channel ends, which is the peer's doing.
func (r *messageReader) run() {
	for {
		message, _, size, err := r.from.Read()
		now := time.Now()
		r.damaged(r.chunks.expire(now), now)
		switch {
		case errors.Is(err, peer.ErrMessageTooLarge):
			r.to.lost(now, media.TooLarge, media.NoError, size)
		case errors.Is(err, peer.ErrNothingCame): // for the sake of expire
		case err != nil:
			r.damaged(r.chunks.clear(), now)
			return
		case isChunk(message):
			r.chunk(message, now)
		case len(message) > r.limit:
			r.to.lost(now, media.TooLarge, media.NoError, size)
		default:
			r.to.whole(message, now, now, false)
		}
		if at := r.chunks.next(); !at.Equal(r.until) || errors.Is(err, peer.ErrNothingCame) {
			r.until = at
			_ = r.from.SetReadDeadline(at) // fails on a channel that has ended, as Read will
		}
	}
}

// chunk takes a part of a message.
func (r *messageReader) chunk(chunk []byte, now time.Time) {
	message, first, abandoned, err := r.chunks.push(chunk, now)
	r.damaged(abandoned, now)
	switch {
	case errors.Is(err, errChunksTooLarge):
		r.to.lost(first, media.TooLarge, media.NoError, len(chunk))
	case err != nil:
		r.to.lost(now, media.NotDropped, media.DecoderError, len(chunk))
	case message != nil:
		r.to.whole(message, first, now, true)
	}
}

// damaged counts messages whose other chunks will not come.
func (r *messageReader) damaged(messages int, now time.Time) {
	for range messages {
		r.to.lost(now, media.Damaged, media.NoError, 0)
	}
}
