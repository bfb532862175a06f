package session

import (
	"log/slog"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// event is something that the supervising goroutine has to act on. One field is set.
type event struct {
	track   *peer.Track   // began
	channel *peer.Channel // opened by the client
	own     *peer.Channel // opened by the edge
	gone    *peer.Channel // closed
}

// maxEvents may wait for the supervising goroutine; a client that causes more at once has no good reason.
const maxEvents = 128

func (s *Session) post(e event) {
	select {
	case s.events <- e:
	default:
		s.end("the client opens and closes too much at once")
	}
}

// fromPeer is what the session's peer tells; see peer.Events.
type fromPeer struct{ *Session }

func (s fromPeer) Track(t *peer.Track)     { s.post(event{track: t}) }
func (s fromPeer) Channel(c *peer.Channel) { s.post(event{channel: c}) }
func (s fromPeer) Violation(what string)   { s.end("the client broke a limit: " + what) }

func (s fromPeer) State(state peer.State) {
	switch state {
	case peer.Connected:
		s.setState(Connected)
		select {
		case s.connected <- struct{}{}:
		default:
		}
	case peer.Disconnected:
		s.setState(Disconnected)
	case peer.Failed:
		s.end("the connection failed")
	case peer.Closed:
		s.end("the client closed the connection")
	default: // Connecting is where every session starts
	}
}

func (s fromPeer) SenderReport(r media.SenderReport) {
	if s.reports.post(r, time.Now()) {
		s.publish(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_SenderReport{SenderReport: wire.SenderReportToProto(r)}})
	}
}

// fromUplink is what the session's uplink tells; see uplink.Handler.
type fromUplink struct{ *Session }

func (s fromUplink) Opened(models []media.Model, inputs []media.Input) {
	w := newWants(models, inputs)
	if before := s.wants.Load(); before != nil {
		w.demands = before.demands
	}
	s.wants.Store(w)
	s.tell()
}

func (s fromUplink) Outcome(o media.Outcome) { s.book.finalise(o) }

func (s fromUplink) Sent(stream string, sequence uint32, models []string, router string) {
	s.book.sent(stream, sequence, models, router)
	s.spans.Sent(stream, sequence, models)
}

func (s fromUplink) Demand(d media.Demand) {
	if w := s.wants.Load(); w != nil && !w.hearsay { // nobody else replaces what a router said
		next := *w
		next.demands = w.demands.with(d)
		s.wants.Store(&next)
	}
}

// Lost leaves the models as they are: what is due while there is no router is dropped as NO_ROUTER and so told to the client.
func (s fromUplink) Lost(reason error) {
	s.logger.Debug("no router", slog.Any("error", reason))
}
