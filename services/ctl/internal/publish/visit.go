package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// drainLimit bounds the wait for the summary after the last frame, silentLimit that of an edge that is probably not there.
const (
	drainLimit  = 5 * time.Second
	silentLimit = 500 * time.Millisecond
	// settle is what the last frames of a session that others follow get to their outcomes: what is on its way at a session's end is dropped as DRAINING, which would look like a
	// loss of the moving.
	settle = 500 * time.Millisecond
)

// errHungUp is why a session ended that its publisher would have gone on with.
var errHungUp = errors.New("the edge ended the connection")

// visit is one session of a publisher.
type visit struct {
	publisher  *publisher
	number     int // of the publisher's, from 0
	connection *connection
	soundBase  uint32 // the first RTP timestamp of the sound

	// heard holds an element when something came of the edge since it was emptied.
	heard chan struct{}
	// first is the first outcome, drained the edge's wish to be left, summarised its counts. sent tells that nothing more will be sent on purpose, lost that another session is
	// needed, over that this one is closed.
	first, drained, summarised, sent, lost, over *event
	failure                                      error // what was wrong with its end, once it is over

	mu      sync.Mutex
	session string
	counts  []media.StreamCounts // the edge's, once the session has ended
	began   time.Time            // when the first unit was due; zero before
	offset  time.Duration        // from the beginning of the first visit to that of this one
	ended   time.Time            // zero while it lasts
	cause   string               // why it ended before its time, empty when it did not
}

func newVisit(p *publisher, number int) *visit {
	return &visit{
		publisher: p, number: number, soundBase: rand.Uint32(), //nolint:gosec // see sendVideo
		heard: make(chan struct{}, 1), first: newEvent(), drained: newEvent(), summarised: newEvent(), sent: newEvent(), lost: newEvent(), over: newEvent(),
	}
}

// event is something that happens once.
type event struct {
	once     sync.Once
	happened chan struct{}
}

func newEvent() *event { return &event{happened: make(chan struct{})} }

// has tells whether it has happened.
func (e *event) has() bool {
	select {
	case <-e.happened:
		return true
	default:
		return false
	}
}

func (e *event) happen() { e.once.Do(func() { close(e.happened) }) }

// run sends until the duration is over or ctx ends, and then ends the session.
func (v *visit) run(ctx context.Context) error {
	defer v.connection.close() //nolint:contextcheck // The session is ended also when ctx is what ended.
	if err := v.send(ctx); err != nil {
		return err
	}
	v.sent.happen()
	if v.publisher.cfg.Reconnect {
		select {
		case <-time.After(settle):
		case <-v.connection.down:
		}
	}
	// Bye lets the edge finish what is in flight and say how it ended; deleting the session at once would cut the last outcomes off.
	if err := v.connection.channel.SendText(`{"bye":{}}`); err != nil {
		return fmt.Errorf("the session ended before it was said good-bye to: %w", err)
	}
	patience := drainLimit
	if v.silent() {
		patience = silentLimit
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-v.summarised.happened:
		return nil
	case <-limit.C:
		return fmt.Errorf("no summary from the edge within %s", patience)
	}
}

// send sends picture and sound side by side, on one clock, for what is left of the duration, and returns when both have done.
func (v *visit) send(ctx context.Context) error {
	start := time.Now()
	offset := v.publisher.tally.Begin(start)
	v.mu.Lock()
	v.began, v.offset = start, offset
	v.mu.Unlock()
	left := v.publisher.cfg.Duration - offset
	var failed [2]error
	var both sync.WaitGroup
	if v.publisher.video != nil {
		both.Go(func() { failed[0] = v.sendVideo(ctx, start, left) })
	}
	if v.publisher.sound != nil {
		both.Go(func() { failed[1] = v.sendSound(ctx, start, left) })
	}
	both.Wait()
	v.mu.Lock()
	v.ended = time.Now()
	v.mu.Unlock()
	return cmp.Or(failed[0], failed[1])
}

// message takes one message of the edge.
func (v *visit) message(text []byte) {
	now := time.Now()
	select {
	case v.heard <- struct{}{}:
	default:
	}
	m := &sluicev1.ServerMessage{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, m); err != nil {
		return // A newer edge may say things that this publisher does not know.
	}
	switch body := m.GetBody().(type) {
	case *sluicev1.ServerMessage_Outcome:
		o, err := wire.OutcomeFromProto(body.Outcome)
		if err != nil {
			return
		}
		v.name(o.Session)
		v.outcome(o, now, body.Outcome)
		v.first.happen()
	case *sluicev1.ServerMessage_Skipped:
		v.publisher.tally.Skipped(body.Skipped)
	case *sluicev1.ServerMessage_Drain:
		v.drained.happen()
	case *sluicev1.ServerMessage_Summary:
		if counts, err := wire.CountsFromProto(body.Summary.GetStreams()); err == nil {
			v.publisher.tally.Summary(counts)
			v.mu.Lock()
			v.counts = counts
			v.mu.Unlock()
		}
		v.name(body.Summary.GetSession())
		v.summarised.happen()
	}
}

// name notes the session's public id, which every outcome holds.
func (v *visit) name(session string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.session = session
}

func (v *visit) silent() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cause == causeSilent
}

func (v *visit) report() SessionReport {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := SessionReport{ID: v.session, Start: v.offset, Cause: v.cause, Edge: v.counts}
	if !v.began.IsZero() && !v.ended.IsZero() {
		r.End = v.offset + v.ended.Sub(v.began)
	}
	return r
}

// outcome notes an outcome and writes its line.
func (v *visit) outcome(o media.Outcome, now time.Time, m *sluicev1.Outcome) {
	p := v.publisher
	if o.Stream == soundStream {
		if at, latency, ok := v.heardSound(o, now); ok {
			p.lines.write(line{Publisher: p.index, Seconds: new(at.Seconds()), Latency: latency.Seconds()}, m)
		}
		return
	}
	if sent, latency, ok := p.tally.Outcome(v.number, o, now); ok {
		p.lines.write(line{Publisher: p.index, Frame: &sent.number, ClipFrame: &sent.unit, Latency: latency.Seconds()}, m)
	}
}

// heardSound notes an outcome of a window of sound. It tells where in the clip the window begins, counted on when the clip is looped or begun again, and how long after the sending of
// the window's last sample the outcome came.
func (v *visit) heardSound(o media.Outcome, now time.Time) (at, latency time.Duration, ok bool) {
	v.mu.Lock()
	began, offset := v.began, v.offset
	v.mu.Unlock()
	input, known := v.publisher.inputs[o.Model]
	if !known {
		return 0, 0, false
	}
	sound := v.publisher.sound.Sound
	hop := ticks(int64(input.Hop), input.Rate)
	sent := time.Duration(o.Sequence-1) * hop // raw sound has no timestamps, but its windows have numbers
	if o.RTP.Valid {
		sent = ticks(int64(int32(o.RTP.Timestamp-v.soundBase)), sound.Clock)
	}
	at = offset + sent - ticks(int64(sound.Skip), sound.Clock)
	latency = now.Sub(began.Add(sent + ticks(int64(input.Window), input.Rate)))
	v.publisher.tally.Heard(o, now, at, hop, latency)
	return at, latency, true
}
