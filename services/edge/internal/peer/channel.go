package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pion/datachannel"
	"github.com/pion/sctp"
	"github.com/pion/webrtc/v4"
)

// The limits of a channel's names (bytes), and of how many channels a client may open over the life of its session.
const (
	maxLabel    = 128
	maxProtocol = 256
	maxOpened   = 64
)

// ErrMessageTooLarge tells that a message was longer than [MaxWholeMessage]; it is gone and the channel goes on.
var ErrMessageTooLarge = errors.New("message too large")

// ErrNothingCame tells that no message came before the deadline of [Channel.SetReadDeadline]; the channel goes on.
var ErrNothingCame = errors.New("no message came in time")

// Channel is an open data channel (RFC 8831). Read is called from one goroutine, the other methods from any.
type Channel struct {
	// Label and Protocol are as the client set them, checked to be short UTF-8.
	Label, Protocol string

	stream    *datachannel.DataChannel
	peer      *Peer
	buffer    []byte
	counted   bool          // it is the client's and has a place among those a client may have
	ended     chan struct{} // closed when Read has found the channel's end
	endOnce   sync.Once
	closeOnce sync.Once
}

// channelAnnounced is pion's callback for a channel that the client opens.
func (p *Peer) channelAnnounced(d *webrtc.DataChannel) {
	if len(d.Label()) > maxLabel || len(d.Protocol()) > maxProtocol || !utf8.ValidString(d.Label()) || !utf8.ValidString(d.Protocol()) {
		p.events.Violation("a data channel's label or protocol is too long or not UTF-8")
		return
	}
	p.mu.Lock()
	p.channels++
	p.everOpened++
	atOnce, ever := p.channels, p.everOpened
	p.mu.Unlock()
	switch {
	case atOnce > p.limit:
		p.events.Violation(fmt.Sprintf("more than %d data channels at once", p.limit))
		return
	case ever > maxOpened:
		p.events.Violation(fmt.Sprintf("more than %d data channels one after the other", maxOpened))
		return
	}
	d.OnOpen(func() {
		c, err := p.adopt(d)
		if err != nil {
			p.channelGone()
			return
		}
		c.counted = true
		p.events.Channel(c)
	})
}

// channelGone gives the place of one of the client's channels back.
func (p *Peer) channelGone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.channels--
}

// OpenChannel opens an ordered, reliable channel from the edge's side and returns when it can be written to; the client must have
// negotiated data channels. It takes none of the places that the client's channels have. ready is called from a goroutine of the peer, under
// the rules of [Events].
func (p *Peer) OpenChannel(label, protocol string, ready func(*Channel)) error {
	if p.isClosed() {
		return ErrClosed
	}
	d, err := p.pc.CreateDataChannel(label, &webrtc.DataChannelInit{Protocol: &protocol})
	if err != nil {
		return fmt.Errorf("open channel %q: %w", label, err)
	}
	d.OnOpen(func() {
		if c, err := p.adopt(d); err == nil {
			ready(c)
		}
	})
	return nil
}

// adopt takes an open channel out of pion's hands.
func (p *Peer) adopt(d *webrtc.DataChannel) (*Channel, error) {
	stream, err := d.DetachWithDeadline()
	if err != nil {
		p.logger.Debug("channel not detached", slog.String("error", err.Error()))
		return nil, err
	}
	concrete, ok := stream.(*datachannel.DataChannel)
	if !ok {
		return nil, fmt.Errorf("detached channel is a %T", stream)
	}
	return &Channel{Label: d.Label(), Protocol: d.Protocol(), stream: concrete, peer: p, ended: make(chan struct{})}, nil
}

// Read gives the next message, whose bytes are valid until the next call, and its size. The error is [ErrMessageTooLarge] for one message
// that is too long; it is gone then. It is [ErrNothingCame] at the deadline. Any other error
// ends the channel.
func (c *Channel) Read() (message []byte, text bool, size int, err error) {
	const small = 16 << 10
	if c.buffer == nil {
		c.buffer = make([]byte, small)
	}
	// A message that is longer than the buffer stays in front of the others until a call brings room for it; its length is not told.
	for into := c.buffer; ; into = make([]byte, 2*len(into)) {
		size, text, err = c.stream.ReadDataChannel(into)
		switch {
		case err == nil && size > MaxWholeMessage:
			c.peer.taken.Add(1)
			return nil, false, size, ErrMessageTooLarge
		case err == nil:
			c.peer.taken.Add(1)
			if len(into) <= MaxWholeMessage {
				c.buffer = into
			}
			return into[:size], text, size, nil
		case errors.Is(err, sctp.ErrReadDeadlineExceeded): // and no other timeout: an association that is closed may end with one
			return nil, false, 0, ErrNothingCame
		case !errors.Is(err, io.ErrShortBuffer) || len(into) > sctpBuffer:
			c.endOnce.Do(func() { close(c.ended) })
			return nil, false, 0, err
		}
	}
}

// SetReadDeadline makes Read give up at a time, with [ErrNothingCame]; zero is never. It is called from Read's goroutine.
func (c *Channel) SetReadDeadline(at time.Time) error { return c.stream.SetReadDeadline(at) }

// WriteText sends a text message. It waits while the client does not take data, at most until the deadline.
func (c *Channel) WriteText(message []byte, deadline time.Time) error {
	if err := c.stream.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := c.stream.WriteDataChannel(message, true)
	return err
}

// Flush waits until the client has everything that was written, until ctx ends or until the channel does, which its reader finds out: a client
// that hangs up on what it was waiting for acknowledges no more.
func (c *Channel) Flush(ctx context.Context) {
	taken := make(chan struct{}, 1)
	c.stream.SetBufferedAmountLowThreshold(0)
	c.stream.OnBufferedAmountLow(func() {
		select {
		case taken <- struct{}{}:
		default:
		}
	})
	if c.stream.BufferedAmount() == 0 {
		return
	}
	select {
	case <-taken:
	case <-ctx.Done():
	case <-c.ended:
	case <-c.peer.done:
	}
}

// IsTimeout tells whether WriteText gave up at its deadline, after which the channel can still be used.
func IsTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) // the latter is what SCTP says
}

// Close closes the channel and frees the place that it may have among the client's. Closing twice is harmless.
func (c *Channel) Close() {
	c.closeOnce.Do(func() {
		if c.counted {
			c.peer.channelGone()
		}
		if err := c.stream.Close(); err != nil {
			c.peer.logger.Debug("close of a channel", slog.String("error", err.Error()))
		}
	})
}
