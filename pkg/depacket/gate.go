package depacket

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// closest is the least time between two requests for a key frame. Senders ignore more frequent ones (Chrome: 300 ms).
	closest = 500 * time.Millisecond
	// calledApart is the least time from a request to one for a key frame that nothing depends on.
	calledApart = time.Second
	// everyLayer is more than any temporal layer's number.
	everyLayer = 255
	// patience is the number of units of a higher temporal layer that are given up before a key frame is asked for: most senders make
	// the layer whole by themselves within a few.
	patience = 30
)

// Verdict is what a Gate says about a unit.
type Verdict uint8

// The verdicts.
const (
	// Refuse: the unit is lost, or something that it depends on is. It must not reach the decoder.
	Refuse Verdict = iota
	// Prime: the decoder must have the unit for the sake of later ones, but its own picture is not right.
	Prime
	// Decode: the decoder will make the right picture of it.
	Decode
)

// String gives the verdict's name.
func (v Verdict) String() string {
	switch v {
	case Prime:
		return "prime"
	case Decode:
		return "decode"
	default:
		return "refuse"
	}
}

// Gate keeps a decoder from being fed what it would have to guess: after a loss it holds everything back until the next key frame, and says
// when to ask the sender for one. Where only units of higher temporal layers are lost, those below go on, and the higher ones too once a unit
// says that they start afresh. The zero value waits for its first key frame. It is not safe for concurrent use.
type Gate struct {
	decoding bool
	priming  int // reference units until the pictures are right, while decoding
	// begun is true when decoding began at a recovery point and settling when its pictures have become right, until a unit comes that is shown
	// after all before it: one shown earlier may lack what it depends on, or be one of those that are not right yet.
	begun, settling bool
	// recovered is true when decoding began at a recovery point.
	recovered bool
	// sound is the lowest temporal layer whose units cannot be decoded for something that is lost, thin the lowest for something that was
	// skipped, while decoding; refused counts the units given up for it.
	sound, thin uint8
	refused     int
	// orphans is true when decoding began with the latest key frame, so that leading units of it lack what they depend on.
	orphans bool

	wanted   bool      // something was refused: a key frame should be asked for
	called   bool      // a key frame is wanted for its own sake
	held     time.Time // no request before that time
	asked    int       // requests since it was wanted
	lastAsk  time.Time
	requests uint64
}

// Step judges the next unit of the stream. Where decoding starts anew with an H.265 picture that also could go on from those before it, it writes
// so into the unit's Data (type BLA in place of CRA): the decoder would number and refer to pictures as if nothing were missing.
func (g *Gate) Step(u *Unit) Verdict {
	switch {
	case !u.Whole() && !u.Missing && (u.Disposable || g.leads(u)):
		return Refuse // nothing depends on it
	case !u.Whole():
		g.lose(u)
		return Refuse
	case u.Key:
		g.start(u)
		return Decode
	case u.Missing:
		g.loseLayer(u.MissingLayer)
	}
	if !g.decoding && u.Recovers {
		return g.recover(u)
	}
	if !g.decoding {
		g.wanted = true
		return Refuse
	}
	if g.leads(u) {
		return Refuse
	}
	g.refresh(u)
	if u.Layer >= min(g.sound, g.thin) {
		g.refuse()
		return Refuse
	}
	if u.Switch && min(g.sound, g.thin) != everyLayer {
		g.sound, g.thin, g.refused, g.wanted, g.asked = everyLayer, everyLayer, 0, false, 0
	}
	return g.primed(u)
}

// start begins with a key frame.
func (g *Gate) start(u *Unit) {
	anew := !g.decoding || u.Missing
	if anew && u.Codec == media.H265 {
		breakLink(u.Data)
	}
	*g = Gate{decoding: true, sound: everyLayer, thin: everyLayer, orphans: anew, lastAsk: g.lastAsk, requests: g.requests}
}

// recover begins with a recovery point.
func (g *Gate) recover(u *Unit) Verdict {
	*g = Gate{
		decoding: true, recovered: true, priming: u.Recovery, begun: true, sound: everyLayer, thin: everyLayer,
		called: g.called, lastAsk: g.lastAsk, requests: g.requests,
	}
	if g.priming > 0 {
		return Prime
	}
	return Decode
}

// leads tells whether a unit is shown before the one with which decoding began, and lacks what it depends on.
func (g *Gate) leads(u *Unit) bool { return u.Leading && g.orphans || u.Backward && g.begun }

// refresh lets a layer go on with a unit that starts it afresh.
func (g *Gate) refresh(u *Unit) {
	if u.Fresh && u.Layer == g.sound {
		g.sound++
	}
	if u.Fresh && u.Layer == g.thin {
		g.thin++
	}
}

// refuse counts a unit that is given up for the loss of others of higher layers.
func (g *Gate) refuse() {
	g.refused++
	g.wanted = g.wanted || g.refused >= patience
}

// Thinned tells whether a unit lacks nothing but units that were skipped.
func (g *Gate) Thinned(u *Unit) bool {
	return g.decoding && (u.Layer > g.thin || u.Layer == g.thin && !u.Fresh)
}

// Skip takes, in place of Step, a unit that nobody decodes because its temporal layer is left out. Later units of that layer and of higher ones
// are Thinned then, until one says that they start afresh; wanted tells that this one is: that it is skipped for no other reason. Where nothing
// starts afresh, a key frame is asked for.
func (g *Gate) Skip(u *Unit, wanted bool) {
	if u.Missing {
		g.loseLayer(u.MissingLayer)
	}
	switch {
	case !g.decoding:
	case wanted:
		g.refuse()
	case u.Layer > 0 && !u.Disposable:
		g.thin = min(g.thin, u.Layer)
	}
}

// lose takes note of a unit that is lost, and of what may be missing before it.
func (g *Gate) lose(u *Unit) {
	layer := u.Layer
	if u.Missing {
		layer = min(layer, u.MissingLayer)
	}
	g.loseLayer(layer)
}

// loseLayer takes note of a loss in a temporal layer, which concerns all from there on.
func (g *Gate) loseLayer(layer uint8) {
	if layer == 0 || !g.decoding {
		g.Break()
		return
	}
	g.sound = min(g.sound, layer)
}

// primed tells whether a unit that can be decoded gives the right picture.
func (g *Gate) primed(u *Unit) Verdict {
	if !u.Backward {
		g.begun, g.settling = false, false
	}
	if g.priming > 0 && !u.Disposable {
		g.priming--
		g.settling = g.priming == 0
	}
	if g.priming > 0 || g.settling && u.Backward {
		return Prime
	}
	return Decode
}

// Break says that the decoder has lost what later units depend on: by a loss, a decoding error or a crash. When a key frame is already being
// waited for, it may have been among what was lost, so the next request does not wait for longer than the shortest back-off.
func (g *Gate) Break() {
	g.decoding, g.wanted, g.asked = false, true, min(g.asked, 1)
}

// BreakUntil is Break with no request for a key frame before a time.
func (g *Gate) BreakUntil(ask time.Time) {
	g.Break()
	g.held = ask
}

// Rest says that no unit is decoded until the next key frame, because none is needed. It asks for nothing.
func (g *Gate) Rest() { g.decoding, g.wanted = false, false }

// Call asks for a key frame for its own sake, at least a second after the last request.
func (g *Gate) Call() { g.called = true }

// Recovered tells whether decoding began at a recovery point: a unit that the decoder refuses may then refer to what was before it.
func (g *Gate) Recovered() bool { return g.decoding && g.recovered }

// Waiting tells whether units are held back until a key frame.
func (g *Gate) Waiting() bool { return !g.decoding }

// Requests gives the number of key frames asked for so far, and of those the ones asked for in vain since the last key frame. A sender that
// leaves three unanswered (OBS, some cameras) does not listen; then its own key frame interval decides.
func (g *Gate) Requests() (total uint64, unanswered int) { return g.requests, g.asked }

// Ask tells whether a key frame must be requested from the sender now, and takes it that the caller does so. Requests are at least 500 ms
// apart; unanswered ones are repeated after 1, 2, 4 and then every 5 seconds.
func (g *Gate) Ask(now time.Time) bool {
	at, ok := g.Next()
	if !ok || now.Before(at) {
		return false
	}
	g.lastAsk = now
	g.asked++
	g.requests++
	return true
}

// Next gives the time at which Ask will say yes, which may be past; false when no key frame is wanted.
func (g *Gate) Next() (time.Time, bool) {
	switch {
	case !g.wanted && !g.called:
		return time.Time{}, false
	case g.lastAsk.IsZero():
		return g.held, true
	}
	wait := backOff(g.asked)
	if !g.wanted {
		wait = max(wait, calledApart)
	}
	if at := g.lastAsk.Add(wait); at.After(g.held) {
		return at, true
	}
	return g.held, true
}

// backOff gives the time from the last request to the next, after a number of unanswered ones.
func backOff(asked int) time.Duration {
	switch asked {
	case 0:
		return closest
	case 1, 2, 3:
		return time.Second << (asked - 1)
	default:
		return 5 * time.Second
	}
}
