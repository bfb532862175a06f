package session

import (
	"context"
	"log/slog"
	"strconv"
	"sync"

	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// outlets decides which data channels carry server messages: the client's control channels; while there is none, each channel of frames
// carries what becomes of its own frames, and a channel that the edge opens carries the rest. It is used by one goroutine; the relays that
// it starts are joined by wait.
type outlets struct {
	hub     *downlink.Hub
	logger  *slog.Logger
	relays  sync.WaitGroup
	running map[*peer.Channel]*downlink.Sink
	control map[*peer.Channel]bool
	frames  map[*peer.Channel]string // the name of the stream
	// carried holds the names of all streams that came by a channel; filters read it. Names are never used again, so it only grows.
	carried sync.Map
	own     *peer.Channel // the one that the edge opened
}

func newOutlets(hub *downlink.Hub, logger *slog.Logger) *outlets {
	return &outlets{
		hub: hub, logger: logger, running: make(map[*peer.Channel]*downlink.Sink),
		control: make(map[*peer.Channel]bool), frames: make(map[*peer.Channel]string),
	}
}

func (o *outlets) addControl(ctx context.Context, c *peer.Channel) {
	o.control[c] = true
	for other, sink := range o.running {
		if !o.control[other] {
			sink.Close()
			delete(o.running, other)
		}
	}
	o.start(ctx, c, 0, nil)
}

func (o *outlets) addFrames(ctx context.Context, c *peer.Channel, stream string) {
	o.frames[c] = stream
	o.carried.Store(stream, true)
	o.startFrames(ctx, c, 0, stream)
}

func (o *outlets) addOwn(ctx context.Context, c *peer.Channel) {
	o.own = c
	o.startOwn(ctx, 0)
}

// remove forgets a channel that has closed. When it was the last control channel the others take over.
func (o *outlets) remove(ctx context.Context, c *peer.Channel) {
	if sink, ok := o.running[c]; ok {
		sink.Close()
		delete(o.running, c)
	}
	wasControl := o.control[c]
	delete(o.control, c)
	delete(o.frames, c)
	if o.own == c {
		o.own = nil
	}
	if wasControl && len(o.control) == 0 {
		for other, stream := range o.frames {
			o.startFrames(ctx, other, downlink.Live, stream)
		}
		o.startOwn(ctx, downlink.Live)
	}
}

// hasControl tells whether the client has a channel for messages.
func (o *outlets) hasControl() bool { return len(o.control) > 0 }

func (o *outlets) startFrames(ctx context.Context, c *peer.Channel, after uint64, stream string) {
	if !o.hasControl() {
		o.start(ctx, c, after, func(m downlink.Message) bool {
			return m.Kind == downlink.KindOutcome && m.Stream == stream || m.Kind == downlink.KindSummary || m.Kind == kindDrain
		})
	}
}

// kindDrain is the JSON name of the notice that the edge shuts down.
const kindDrain downlink.Kind = "drain"

// startOwn relays everything that no channel of frames carries.
func (o *outlets) startOwn(ctx context.Context, after uint64) {
	if o.own == nil || o.hasControl() {
		return
	}
	o.start(ctx, o.own, after, func(m downlink.Message) bool {
		_, elsewhere := o.carried.Load(m.Stream)
		return m.Kind != downlink.KindOutcome || !elsewhere
	})
}

// start relays down a channel the messages after an id. A new channel starts with all that are kept: it may open after the first outcomes.
func (o *outlets) start(ctx context.Context, c *peer.Channel, after uint64, filter func(downlink.Message) bool) {
	sink := o.hub.Attach(after, filter) // the peer bounds the channels
	o.running[c] = sink
	r := relay{sink: sink, to: c, name: "data channel " + strconv.Quote(c.Label), logger: o.logger}
	o.relays.Go(func() { r.run(ctx) })
}

// wait joins the relays, once the hub is closed or their context has ended.
func (o *outlets) wait() { o.relays.Wait() }
