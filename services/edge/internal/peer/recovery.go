package peer

import (
	"log/slog"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/jitter"
	"github.com/sluice-dev/sluice/pkg/nack"
)

const (
	// videoClock is the rate of every video payload format's timestamps, in ticks a second.
	videoClock = 90000
	// repairPoll is how long Read may sleep while a retransmission may be on its way: pion hands one out only when Read is called.
	repairPoll = 5 * time.Millisecond
	// orphanCheck bounds a Read, for pion leaves some unended: when another source takes the name (RID) of a simulcast's layer, pion gives its
	// track that source, and nothing ends a Read of the one before; and where two media descriptions claim one source, both Reads wait for
	// the same packets, and closing wakes one of them.
	orphanCheck = time.Second
	// measureEvery is how often the round-trip time is looked up; ICE itself measures it with each of its keepalives, every two seconds.
	measureEvery = time.Second
)

// recovery has a track's missing packets sent again. It sits where retransmissions have been merged into the stream (pion's own generator
// sits before that, and asks for every recovered packet again and again), and in the read loop rather than behind it, so that decoding never
// delays a request. The read loop alone uses it.
type recovery struct {
	track   *Track
	remote  *webrtc.TrackRemote
	answers bool // the client answers generic NACKs for this track
	paused  bool
	tracker *nack.Tracker
	spread  *jitter.Spread
	until   time.Time // the read deadline; zero while there is none
	due     []uint16
	counted nack.Stats // what the metrics know
}

func newRecovery(t *Track, remote *webrtc.TrackRemote) *recovery {
	generic := func(f webrtc.RTCPFeedback) bool { return f.Type == webrtc.TypeRTCPFBNACK && f.Parameter == "" }
	rate := t.ClockRate
	if rate == 0 {
		rate = videoClock
	}
	return &recovery{
		track: t, remote: remote, answers: slices.ContainsFunc(remote.Codec().RTCPFeedback, generic),
		tracker: nack.New(nack.Config{}), spread: jitter.NewSpread(int(rate)),
	}
}

// arrived notes a packet.
func (r *recovery) arrived(p *rtp.Packet, arrival time.Time) {
	r.spread.Arrived(p.Timestamp, arrival)
	if !r.answers {
		return
	}
	r.tracker.Arrived(p.SequenceNumber, arrival)
}

// awake asks for what is due, and sees to it that the next Read returns in time for what comes then.
func (r *recovery) awake(now time.Time) error {
	if paused := r.track.paused.Load(); paused != r.paused {
		r.paused, r.tracker, r.counted = paused, nack.New(nack.Config{}), nack.Stats{} // what is thrown away is not missing
	}
	var until time.Time
	if r.answers {
		until = r.repair(now)
	} else {
		r.track.patience.Store(int64(jitter.Straggle(r.spread.Estimate())))
	}
	if until.IsZero() {
		until = r.until
		if until.Before(now.Add(orphanCheck / 2)) {
			until = now.Add(orphanCheck)
		}
	}
	if until.Equal(r.until) {
		return nil
	}
	r.until = until
	return r.remote.SetReadDeadline(until)
}

// repair asks for the packets that are due and gives the time by which more will be; zero when nothing is missing.
func (r *recovery) repair(now time.Time) time.Time {
	rtt := time.Duration(r.track.peer.rtt.Load())
	patience := jitter.Wait(rtt, r.spread.Estimate())
	r.track.patience.Store(int64(patience))
	r.tracker.SetTiming(rtt, patience)
	r.ask(now)
	stats := r.tracker.Stats()
	r.track.peer.metrics.repaired(r.counted, stats)
	r.counted = stats
	next, missing := r.tracker.Next()
	if !missing {
		return time.Time{}
	}
	if poll := now.Add(repairPoll); r.remote.HasRTX() && poll.Before(next) {
		return poll
	}
	return next
}

// ask requests the packets that are due.
func (r *recovery) ask(now time.Time) {
	if r.due = r.tracker.Due(now, r.due[:0]); len(r.due) == 0 {
		return
	}
	request := &rtcp.TransportLayerNack{MediaSSRC: r.track.SSRC, Nacks: rtcp.NackPairsFromSequenceNumbers(r.due)}
	if err := r.track.peer.pc.WriteRTCP([]rtcp.Packet{request}); err != nil {
		r.track.peer.logger.Debug("retransmission not asked for", slog.String("error", err.Error()))
	}
}

// log sums up what became of the packets that were missing.
func (r *recovery) log() {
	s := r.tracker.Stats()
	if s == (nack.Stats{}) {
		return
	}
	r.track.peer.logger.Debug("track ended", slog.Uint64("recovered", s.Recovered), slog.Uint64("reordered", s.Reordered),
		slog.Uint64("given_up", s.GivenUp), slog.Uint64("requests", s.Requests), slog.Uint64("jumps", s.Jumps))
}

// measure keeps the round-trip time until the peer closes. A receiver of media learns none from RTCP, whose reports serve the sender; ICE
// measures it with its own requests. It also looks after the data channels.
func (p *Peer) measure() {
	association := p.pc.SCTP()
	ice := association.Transport().ICETransport() // of everything: a client that does not bundle is refused
	var jammed jam
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		if stats, ok := ice.GetSelectedCandidatePairStats(); ok && stats.CurrentRoundTripTime > 0 {
			p.rtt.Store(int64(stats.CurrentRoundTripTime * float64(time.Second)))
		}
		if jammed.look(p.taken.Load(), association.Stats().BytesReceived, time.Now()) {
			p.events.Violation("a data channel message of several MiB that does not come whole")
		}
		select {
		case <-p.closing:
			return
		case <-tick.C:
		}
	}
}
