package session

import (
	"context"
	"time"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
)

// need is what the models of a track want to have decoded.
type need uint8

const (
	needNothing need = iota
	needKeys         // key units only
	needAll
)

// unit takes a unit, or the report of a lost one, through sampling, the gate and the decoder.
func (r *trackRunner) unit(ctx context.Context, u *depacket.Unit) {
	at := r.times.at(u.RTP, u.First)
	u.Rotation = r.turned.at(u.RTP.SSRC, u.RTP.Timestamp)
	if s, ok := r.source.(sized); ok && u.Key && u.Whole() {
		s.Shows(u)
	}
	r.setNeed()
	entry := ledger.Unit{Arrival: u.First, RTP: u.RTP, Captured: at.captured, Clock: at.quality}
	if !u.Key && r.stream.sampler.AwaitsKey(at.media) {
		r.gate.Call()
	}
	if r.leavesOut(u, at.media) {
		r.stream.count(entry)
		return
	}
	sequence, due := r.stream.receive(entry, at.media, u.Key)
	if sequence == 0 || r.need == needNothing {
		return
	}
	traced := r.stream.traced(sequence)
	traced.Arrived(u.First, u.Last)
	if len(due) > 0 {
		turn, ok := r.turns.take(ctx)
		if !ok {
			return // what is in flight ends with the session
		}
		defer turn.end()
	}
	due, decode := r.admit(u, sequence, due, time.Now())
	if !decode {
		return
	}
	j := job{
		unit: u.AccessUnit, sequence: sequence, due: due, captured: at.captured, clock: at.quality, begun: u.First, ready: u.Last,
		disposable: u.Disposable && !u.Key || r.need == needKeys, recovered: r.gate.Recovered(), traced: traced,
	}
	if r.convert.convert(ctx, j, r.stream.wants) {
		r.gate.Break()
	}
}

// setNeed notes what the models need. Units that nobody needed did not reach the decoder, so the first one needed must be a key frame.
//
// Before the router's first word nobody knows whether there is a model, so the decoder is kept ready for one: a sender's first unit is often the
// only key frame for a while.
func (r *trackRunner) setNeed() {
	feeds, now := r.stream.refresh(), needAll
	if r.stream.wants != nil {
		_, others := r.stream.sampler.Fastest()
		switch {
		case !feeds:
			now = needNothing
		case !others:
			now = needKeys
		}
	}
	if now > r.need {
		r.gate.Break()
	}
	r.need = now
}

// leavesOut tells whether a unit is neither due nor decoded because no model needs units such as it: no others than key units are needed, or
// fewer than the lower temporal layers bring.
func (r *trackRunner) leavesOut(u *depacket.Unit, pts time.Duration) bool {
	r.layers.Observe(u.Layer, pts)
	switch r.need {
	case needNothing:
		return false
	case needKeys:
		if !u.Key {
			r.gate.Rest()
		}
		return !u.Key
	default:
	}
	rate, _ := r.stream.sampler.Fastest()
	wanted := u.Layer <= r.layers.Needed(rate)
	if wanted && !r.gate.Thinned(u) {
		return false
	}
	if u.Whole() {
		r.gate.Skip(u, wanted)
	} else {
		r.gate.Step(u)
	}
	return true
}

// admit tells whether a unit must be decoded, and for what it is due then. What is not to be had has its outcome.
func (r *trackRunner) admit(u *depacket.Unit, sequence uint32, due []media.Due, now time.Time) (rest []media.Due, decode bool) {
	lag := now.Sub(r.available)
	if u.Whole() && !r.budget.take(len(u.Data), now) {
		r.gate.Break()
		r.stream.drop(sequence, due, media.RateLimited)
		return nil, false
	}
	if u.Key && lag > hopelessLag { // to start with it would mean to stay behind
		r.fallBehind(now)
		r.stream.drop(sequence, due, media.Overloaded)
		return nil, false
	}
	waiting := r.gate.Waiting()
	verdict := r.gate.Step(u)
	switch {
	case u.Error != media.NoError:
		r.stream.fail(sequence, due, u.Error)
		return nil, false
	case u.Drop != media.NotDropped:
		r.stream.drop(sequence, due, u.Drop)
		return nil, false
	case verdict == depacket.Refuse:
		reason := media.Damaged
		if r.behind {
			reason = media.Overloaded
		}
		r.stream.drop(sequence, due, reason)
		return nil, false
	case verdict == depacket.Prime:
		r.stream.drop(sequence, due, media.Damaged)
		due = nil
	}
	u.Key = u.Key || waiting // decoding starts here, be it at a recovery point
	r.behind = false
	return r.keepUp(u, sequence, due, lag, now)
}

// keepUp does less for a unit that comes late, or nothing.
func (r *trackRunner) keepUp(u *depacket.Unit, sequence uint32, due []media.Due, lag time.Duration, now time.Time) (rest []media.Due, decode bool) {
	switch r.overload.judge(lag, now) {
	case fullEffort:
		return due, true
	case onlyDecoded:
		r.stream.drop(sequence, due, media.Overloaded)
		if u.Layer > 0 {
			r.gate.Skip(u, false)
			return nil, false
		}
		return nil, true
	default:
		r.stream.drop(sequence, due, media.Overloaded)
		if u.Key {
			return nil, true
		}
		r.fallBehind(now)
		return nil, false
	}
}

// fallBehind gives up all units until the next key frame.
func (r *trackRunner) fallBehind(now time.Time) {
	if !r.behind {
		r.gate.BreakUntil(r.overload.giveUp(now))
	}
	r.behind = true
}
