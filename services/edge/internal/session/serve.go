package session

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

const (
	// setupLimit is how long a client may take to connect.
	setupLimit = 30 * time.Second
	// ownChannelAfter is how long a connected client has to open a channel for messages before the edge opens one.
	ownChannelAfter = time.Second
	// linkPatience is how long a session waits for its router's first word before it takes what the last router said, so that the client is
	// told NO_ROUTER rather than nothing.
	linkPatience = time.Second
	// settleLimit is how long the end of a session waits for outcomes of models with long deadlines.
	settleLimit = time.Second
	// flushLimit is how long the last messages may take to leave.
	flushLimit = time.Second
)

// supervisor is what the supervising goroutine of a session owns.
type supervisor struct {
	*Session
	outlets *outlets
	names   names
	tracks  map[string]*layered // by id; nil for those without layers
	streams uint32
	// ownAllowed tells that the client had its time to open a channel for messages; ownAsked that the edge's is on its way.
	ownAllowed, ownAsked bool

	// work ends with its context, readers end with the peer, expiry ends last, when nothing is in flight.
	work, readers, expiry sync.WaitGroup
}

// run serves the session and ends it, except for Done. catalog gives what the routers last said.
func (s *Session) run(catalog func() *wants) {
	v := &supervisor{Session: s, outlets: newOutlets(s.hub, s.logger), names: names{}, tracks: make(map[string]*layered)}
	expiring, stopExpiry := context.WithCancel(context.Background())
	working, stopWork := context.WithCancel(context.Background())
	relaying, stopRelays := context.WithCancel(context.Background())
	defer stopExpiry()
	defer stopWork()
	defer stopRelays()
	v.expiry.Go(func() { s.book.run(expiring) })
	reason := v.serve(working, relaying, catalog)
	v.finish(stopWork, stopExpiry, stopRelays)
	s.logger.Info("session ended", slog.String("reason", reason), slog.Duration("after", time.Since(s.started).Round(time.Millisecond)))
}

// serve acts on what happens until there is a reason to end.
func (v *supervisor) serve(working, relaying context.Context, catalog func() *wants) (reason string) {
	setup, own, link := time.NewTimer(setupLimit), time.NewTimer(ownChannelAfter), time.NewTimer(linkPatience)
	own.Stop() // until the client is connected
	defer setup.Stop()
	defer own.Stop()
	defer link.Stop()
	first := true
	for {
		select {
		case reason := <-v.ending:
			return reason
		case <-setup.C:
			return "the client did not connect in time"
		case <-v.connected:
			setup.Stop()
			own.Reset(ownChannelAfter)
			v.warmUp(working)
			if first {
				first = false
				v.outcomes.metrics.connect.Observe(time.Since(v.started).Seconds())
			}
			v.logger.Info("session connected", slog.Duration("after", time.Since(v.started).Round(time.Millisecond)))
		case <-own.C:
			v.ownAllowed = true
			v.openOwn()
		case <-link.C:
			v.wants.CompareAndSwap(nil, catalog())
			v.tell()
		case e := <-v.events:
			v.act(working, relaying, e)
		}
	}
}

func (v *supervisor) act(working, relaying context.Context, e event) {
	switch {
	case e.track != nil:
		v.addTrack(working, e.track)
	case e.channel != nil:
		v.addChannel(working, relaying, e.channel)
	case e.own != nil:
		v.outlets.addOwn(relaying, e.own)
		v.readers.Go(func() { v.discard(e.own) })
	case e.gone != nil:
		v.outlets.remove(relaying, e.gone)
		e.gone.Close()
	}
	v.openOwn()
}

// finish ends everything in the order of a frame's way, so that each stage finds the next one alive: intake and decoding, uplink, book,
// summary, relays, connection. What the router has is waited for: it is answered or overdue within its deadline.
func (v *supervisor) finish(stopWork, stopExpiry, stopRelays context.CancelFunc) {
	stopWork()
	v.work.Wait()
	v.book.settle(settleLimit)
	v.uplink.Close()
	v.book.close()
	stopExpiry()
	v.expiry.Wait()
	v.summarise()
	v.hub.Close()
	v.flush(stopRelays)

	v.mu.Lock()
	p := v.peer
	v.peer, v.connection = nil, Closed
	v.mu.Unlock()
	if p.Close() {
		v.readers.Wait()
	}
	if err := v.decoder.Close(); err != nil {
		v.logger.Error("a decoder does not close", slog.String("error", err.Error()))
	}
}

// flush lets the last messages leave, for a while.
func (v *supervisor) flush(stopRelays context.CancelFunc) {
	limit := time.AfterFunc(flushLimit, stopRelays)
	defer limit.Stop()
	v.outlets.wait()
	stopRelays()
}

// addTrack starts the stream of a track.
func (v *supervisor) addTrack(ctx context.Context, t *peer.Track) {
	if l := v.tracks[t.ID]; l != nil && t.RID != "" && l.add(newMember(t)) {
		return
	}
	fallback, holds := "audio", content{kind: media.KindSound}
	if t.Kind == media.KindPicture {
		fallback, holds = "video", content{kind: media.KindPicture}
	}
	st, err := newStream(v.names.take(t.ID, fallback), holds, nil, v, v.book)
	if err != nil {
		v.end("the client started too many streams")
		return
	}
	v.streams++
	number := v.streams
	from := v.source(ctx, t)
	v.work.Go(func() {
		if t.Kind == media.KindPicture {
			c := newConverter(st, number, v.decoder, v.uplink, v.limits.Pixels, v.logger)
			newTrackRunner(from, st, c, v.budget, v.turns, v.reports, v.limits.Message).run(ctx)
		} else {
			newSoundRunner(from, newListener(st, number, v.decoder, v.uplink, v.logger), v.budget, v.reports).run(ctx)
		}
		v.endStream(st, number)
	})
}

// source gives where the packets of a new track come from.
func (v *supervisor) source(ctx context.Context, t *peer.Track) source {
	if t.RID == "" || t.Kind != media.KindPicture {
		v.tracks[t.ID] = nil
		return t
	}
	l := newLayered(v, newMember(t), v.limits, v.logger)
	v.tracks[t.ID] = l
	v.work.Go(func() { l.run(ctx) })
	return l
}

// addChannel starts what a data channel is for.
func (v *supervisor) addChannel(ctx, relaying context.Context, c *peer.Channel) {
	kind := parseProtocol(c.Protocol)
	if kind.control {
		v.outlets.addControl(relaying, c)
		v.readers.Go(func() { v.listen(c) })
		return
	}
	st, err := newStream(v.names.take(c.Label, "messages"), kind.content, kind.models, v, v.book)
	if err != nil {
		v.end("the client started too many streams")
		return
	}
	if kind.problem != nil {
		v.logger.Info("a channel's messages are UNSUPPORTED", slog.String("stream", st.name), slog.String("reason", kind.problem.Error()))
	}
	v.outlets.addFrames(relaying, c, st.name)
	v.streams++
	number := v.streams
	waiting, sounds := newSlot(), newSoundQueue(v.limits.Message)
	ctx, cancel := context.WithCancel(ctx)
	v.readers.Go(func() {
		v.awaitWants(ctx)
		newMessageReader(c, newChannelIntake(kind, st, v.budget, waiting, sounds), v.limits.Message).run()
		cancel()
		v.post(event{gone: c})
	})
	v.work.Go(func() {
		var playing sync.WaitGroup
		if kind.hears() || kind.sniffs() {
			playing.Go(func() {
				newSoundPlayer(newListener(st.hearing(), number, v.decoder, v.uplink, v.logger), sounds, kind).run(ctx)
			})
		}
		convertMessages(ctx, waiting, newConverter(st, number, v.decoder, v.uplink, v.limits.Pixels, v.logger), v)
		playing.Wait()
		v.endStream(st, number)
	})
}

// awaitWants waits until something is known of what the models need, linkPatience at most: a client's first message may be its only one, and would be due for nothing.
func (v *supervisor) awaitWants(ctx context.Context) {
	select {
	case <-v.told:
	case <-ctx.Done():
	}
}

// warmUp starts the decoder before the first picture needs it.
func (v *supervisor) warmUp(ctx context.Context) {
	v.work.Go(func() {
		if err := v.decoder.Start(ctx); err != nil && ctx.Err() == nil {
			v.logger.Error("a decoder does not start", slog.String("error", err.Error()))
		}
	})
}

// endStream gives back what a stream holds in the stages. The uplink comes before the book: until it has forgotten the stream it may send
// what waits there, and the router's answer to that must find the book open.
func (v *supervisor) endStream(st *stream, number uint32) {
	v.uplink.Forget(st.name)
	v.book.closeStream(st.name)
	v.decoder.Forget(number)
}

// listen reads what a client says on its channel for messages.
func (v *supervisor) listen(c *peer.Channel) {
	defer v.post(event{gone: c})
	for {
		message, _, _, err := c.Read()
		if err != nil {
			return
		}
		var said sluicev1.ClientMessage
		if err := protojson.Unmarshal(message, &said); err != nil {
			continue
		}
		switch body := said.GetBody().(type) {
		case *sluicev1.ClientMessage_Bye:
			v.end("the client said bye")
		case *sluicev1.ClientMessage_Ping:
			v.pong(c, body.Ping)
		}
	}
}

// pong answers a ping. The relay's messages do not hold it up: those wait outside of the channel, this one waits for the client alone, who
// gets no second one meanwhile.
func (v *supervisor) pong(c *peer.Channel, ping *sluicev1.Ping) {
	body := &sluicev1.ServerMessage_Pong{Pong: &sluicev1.Pong{Id: ping.Id}}
	data, err := wire.JSON(&sluicev1.ServerMessage{Body: body})
	if err == nil {
		err = c.WriteText(data, time.Now().Add(patience))
	}
	if err != nil {
		v.logger.Debug("ping not answered", slog.String("error", err.Error()))
	}
}

// discard reads the edge's own channel, where a client has nothing to say, so that its end is noticed.
func (v *supervisor) discard(c *peer.Channel) {
	defer v.post(event{gone: c})
	for {
		if _, _, _, err := c.Read(); err != nil {
			return
		}
	}
}

// openOwn opens a channel for messages to a client that has none, if it can have one and there is something that no other channel carries.
func (v *supervisor) openOwn() {
	if !v.ownAllowed || v.ownAsked || v.outlets.hasControl() || len(v.tracks) == 0 || !v.connectedPeer().HasMessages() {
		return
	}
	v.ownAsked = true
	err := v.connectedPeer().OpenChannel("sluice", controlProtocol, func(c *peer.Channel) { v.post(event{own: c}) })
	if err != nil {
		v.logger.Debug("no channel for messages", slog.String("error", err.Error()))
	}
}
