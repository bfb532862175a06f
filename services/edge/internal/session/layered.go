package session

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/simulcast"
	"github.com/sluice-dev/sluice/services/edge/internal/header"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// layer is one source of a simulcast; *peer.Track is one.
type layer interface {
	source
	Pause(paused bool)
	Heard() time.Time
}

// member is a layer with what is known of it when it begins.
type member struct {
	layer
	ssrc          uint32
	width, height int // as announced; 0 when they were not

	// The rest belongs to the goroutine that hands on. Probed is how often its size was tried to be learnt in vain, nextProbe when to try again.
	probed        int
	nextProbe     time.Time
	paused, ended bool
}

const (
	// watchEvery is how often the layers are looked at.
	watchEvery = 50 * time.Millisecond
	// layeredQueue is how many packets may wait for the runner, as for that of a track.
	layeredQueue = 1024
	// maxMembers bounds the layers that wait to be admitted; a peer has no more tracks.
	maxMembers = 8
)

// layered makes one source of the layers of a simulcast: it hands on the packets of the layer that is decoded, and goes over to another one at
// a key frame of that. The other layers are paused. Its own goroutine owns it, but for the methods of a source, which the runner calls.
type layered struct {
	live    liveWants
	logger  *slog.Logger
	chooser simulcast.Chooser
	members []*member // by the chooser's index
	current int       // the member handed on; -1 when it has ended
	trial   *trial    // of another member; nil when there is none
	wants   *wants
	bytes   int // of a unit at most
	sending int // members that have not ended
	lost    uint64

	added  chan *member
	shown  chan shown
	out    chan peer.Packet
	chosen atomic.Pointer[member]

	mu   sync.Mutex
	over bool // nothing more is taken; what was added before is in added
}

// shown is the size of a picture that was handed on.
type shown struct {
	ssrc          uint32
	width, height int
}

// newLayered makes a source that has one layer, which is handed on from its first packet: nothing else could be missed.
func newLayered(live liveWants, first *member, limits Limits, logger *slog.Logger) *layered {
	l := &layered{
		live: live, logger: logger, bytes: limits.Message,
		added: make(chan *member, maxMembers), shown: make(chan shown, maxMembers), out: make(chan peer.Packet, layeredQueue),
	}
	l.chooser.Limit(limits.Pixels)
	l.admit(first)
	l.use(0)
	return l
}

func newMember(t *peer.Track) *member {
	return &member{layer: t, ssrc: t.SSRC, width: t.Width, height: t.Height}
}

// Packets gives the packets of the layer that is decoded. It is closed when all layers have ended.
func (l *layered) Packets() <-chan peer.Packet { return l.out }

// Patience is that of the layer that is decoded.
func (l *layered) Patience() time.Duration { return l.chosen.Load().Patience() }

// RequestKeyFrame asks for one of the layer that is decoded.
func (l *layered) RequestKeyFrame() { l.chosen.Load().RequestKeyFrame() }

// Shows learns the size of a key frame that was handed on.
func (l *layered) Shows(u *depacket.Unit) {
	width, height := header.Read(u.Codec, u.Data).Upright()
	select {
	case l.shown <- shown{u.RTP.SSRC, width, height}:
	default: // the next key frame tells it too
	}
}

// add takes another layer that began to send. It is false when all layers before it have ended: then it is a track of its own.
func (l *layered) add(m *member) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	select {
	case l.added <- m:
	default: // more than a peer has
	}
	return true
}

// ended tells whether there is no layer left, nor one to come.
func (l *layered) ended() bool {
	if l.sending > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = len(l.added) == 0
	return l.over
}

// run hands on packets until all layers or ctx end.
func (l *layered) run(ctx context.Context) {
	defer close(l.out)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for !l.ended() {
		select {
		case <-ctx.Done():
			return
		case m := <-l.added:
			l.admit(m)
		case s := <-l.shown:
			l.sized(s)
		case p, ok := <-l.packets(l.current):
			if ok {
				l.hand(p)
				continue
			}
			l.end(l.current)
		case p, ok := <-l.packets(l.trial.member()):
			if !ok {
				l.end(l.trial.index)
			} else if l.trial.push(p, time.Now()) {
				l.found()
			}
		case <-tick.C:
			l.watch()
		}
		l.decide(time.Now())
	}
	if l.lost > 0 {
		l.logger.Debug("packets of a simulcast did not fit", slog.Uint64("lost", l.lost))
	}
}

// packets gives those of a member, none for -1.
func (l *layered) packets(index int) <-chan peer.Packet {
	if index < 0 || l.members[index].ended {
		return nil
	}
	return l.members[index].Packets()
}

func (l *layered) admit(m *member) {
	l.chooser.Add(m.width, m.height, m.Heard())
	l.members = append(l.members, m)
	l.sending++
}

func (l *layered) hand(p peer.Packet) {
	select {
	case l.out <- p:
	default:
		l.lost++
	}
}

func (l *layered) sized(s shown) {
	for i, m := range l.members {
		if m.ssrc == s.ssrc {
			l.chooser.Sized(i, s.width, s.height)
		}
	}
}

// end takes note of a member that sends no more.
func (l *layered) end(index int) {
	l.members[index].ended = true
	l.sending--
	l.chooser.End(index)
	if l.trial.member() == index {
		l.trial = nil
	}
	if l.current == index {
		l.current = -1
	}
}

// watch looks at which layers send, and at what the models take.
func (l *layered) watch() {
	for i, m := range l.members {
		if !m.ended {
			l.chooser.Heard(i, m.Heard())
		}
	}
	if w := l.live.current(); w != nil && w != l.wants {
		l.wants = w
		l.chooser.Want(w.pictures())
	}
	if l.trial != nil && l.trial.pop(time.Now()) {
		l.found()
	}
}

// decide begins and ends trials, and lets the others rest.
func (l *layered) decide(now time.Time) {
	best, ok := l.chooser.Best(now)
	if !ok {
		return
	}
	lost := l.current < 0 || l.chooser.Gone(l.current)
	switch moves := best != l.current && (l.wants != nil || lost); {
	case moves && (l.trial.member() != best || !l.trial.moves):
		l.try(best, true, now)
	case !moves && l.trial != nil && l.trial.moves:
		l.giveUp()
	}
	if l.trial != nil && l.trial.inVain(now) {
		l.giveUp()
	}
	if l.trial == nil {
		l.probe(now)
	}
	if l.trial != nil && l.trial.asks(now) {
		l.members[l.trial.index].RequestKeyFrame()
	}
	for i, m := range l.members {
		if i != l.current && i != l.trial.member() && l.chooser.Known(i) && !m.paused {
			l.rest(i)
		}
	}
}

// probe begins to learn the size of a layer that sends, if there is one of unknown size.
func (l *layered) probe(now time.Time) {
	for i, m := range l.members {
		if i != l.current && !m.ended && !l.chooser.Known(i) && !l.chooser.Gone(i) && !now.Before(m.nextProbe) {
			l.try(i, false, now)
			return
		}
	}
}

// try waits for the next key frame of a member, to learn its size or to go over to it.
func (l *layered) try(index int, moves bool, now time.Time) {
	if l.trial.member() == index {
		l.trial.urge(now)
		return
	}
	l.giveUp()
	l.pause(index, false)
	l.trial = newTrial(index, moves, l.bytes, now)
}

// found acts on the key frame of the trial: it tells a size, by which the member may be the best one, and then takes over from there on.
func (l *layered) found() {
	t := l.trial
	l.chooser.Sized(t.index, t.width, t.height)
	if best, _ := l.chooser.Best(time.Now()); best != t.index || l.wants == nil && !t.moves {
		if t.width > 0 {
			l.giveUp()
		}
		return
	}
	l.trial = nil
	old := l.current
	l.use(t.index)
	for _, p := range t.fromKey() {
		l.hand(p)
	}
	if old >= 0 {
		l.rest(old)
	}
	l.logger.Debug("another layer of a simulcast", slog.Int("width", t.width), slog.Int("height", t.height))
}

func (l *layered) use(index int) {
	l.current = index
	l.chooser.Use(index)
	l.chosen.Store(l.members[index])
}

// giveUp ends the trial, if there is one, without going over.
func (l *layered) giveUp() {
	if l.trial == nil {
		return
	}
	index := l.trial.index
	m := l.members[index]
	if !l.chooser.Known(index) {
		m.probed++
		m.nextProbe = time.Now().Add(probePause << min(m.probed, 5))
	}
	l.trial = nil
	l.rest(index)
}

func (l *layered) pause(index int, paused bool) {
	m := l.members[index]
	m.paused = paused
	m.Pause(paused)
}

// rest pauses a member and throws away what waits of it.
func (l *layered) rest(index int) {
	l.pause(index, true)
	for {
		select {
		case _, ok := <-l.packets(index):
			if !ok {
				l.end(index)
				return
			}
		default:
			return
		}
	}
}
