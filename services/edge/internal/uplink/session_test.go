package uplink

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// session plays the session above an Uplink: it offers frames, notes all that it is told, and checks the promises of the package.
type session struct {
	t *testing.T
	*Uplink

	mu       sync.Mutex
	models   []media.Model
	inputs   []media.Input
	openings int
	losses   int
	demands  []media.Demand
	sent     map[unit]time.Time
	drops    map[unit]media.DropReason
	dropped  map[unit]time.Time
	answers  map[unit]int
	first    []time.Time // when each answer came
	released map[*byte]int
	offered  map[unit]bool
	changed  chan struct{} // closed and replaced at each change
}

type unit struct {
	stream   string
	sequence uint32
	model    string
}

// openSession opens a session that is closed, and held to its promises, when the test ends.
func openSession(t *testing.T, p *Pool, models ...string) *session {
	t.Helper()
	s := &session{
		t: t, sent: make(map[unit]time.Time), drops: make(map[unit]media.DropReason), dropped: make(map[unit]time.Time),
		answers: make(map[unit]int), released: make(map[*byte]int), offered: make(map[unit]bool), changed: make(chan struct{}),
	}
	s.Uplink = p.Open("s1", models, media.Share{Weight: 4, Class: 1}, s)
	t.Cleanup(s.check)
	return s
}

// note runs a change under the lock and wakes those who wait for one.
func (s *session) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *session) Opened(models []media.Model, inputs []media.Input) {
	s.note(func() { s.models, s.inputs, s.openings = models, inputs, s.openings+1 })
}

func (s *session) Outcome(o media.Outcome) {
	s.note(func() {
		at := unit{o.Stream, o.Sequence, o.Model}
		if o.Session != "s1" {
			s.t.Errorf("an outcome of session %q: %+v", o.Session, o)
		}
		if o.Drop == media.NotDropped {
			s.answers[at]++
			s.first = append(s.first, time.Now())
			return
		}
		if _, twice := s.drops[at]; twice {
			s.t.Errorf("%+v was dropped twice, as %s and %s", at, s.drops[at], o.Drop)
		}
		s.drops[at], s.dropped[at] = o.Drop, time.Now()
	})
}

func (s *session) Sent(stream string, sequence uint32, models []string, router string) {
	s.note(func() {
		if router != "fake" {
			s.t.Errorf("unit %d was sent to router %q", sequence, router)
		}
		for _, m := range models {
			at := unit{stream, sequence, m}
			if _, twice := s.sent[at]; twice {
				s.t.Errorf("%+v was sent twice", at)
			}
			s.sent[at] = time.Now()
		}
	})
}

func (s *session) Demand(d media.Demand) { s.note(func() { s.demands = append(s.demands, d) }) }

func (s *session) Lost(error) { s.note(func() { s.losses++ }) }

// until waits for a condition on what was noted. It is checked under the lock.
func (s *session) until(what string, holds func() bool) {
	s.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		ok, changed := holds(), s.changed
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (s *session) untilOpened() {
	s.t.Helper()
	s.until("Opened", func() bool { return s.openings > 0 })
}

// input gives the id of the input that a model takes now.
func (s *session) input(model string) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.models, func(m media.Model) bool { return m.Name == model })
	if i < 0 {
		return 0
	}
	return s.models[i].InputID
}

// offer offers a frame of the stream "camera" of the size given, due for the models within 250 ms.
func (s *session) offer(sequence uint32, bytes int, input uint32, models ...string) {
	f := media.Frame{Stream: "camera", Sequence: sequence, InputID: input, Placement: media.Place(small, 4, 2)}
	for _, m := range models {
		f.Due = append(f.Due, media.Due{Model: m, Deadline: time.Now().Add(250 * time.Millisecond)})
	}
	s.offerFrame(f, bytes)
}

func (s *session) offerFrame(f media.Frame, bytes int) {
	payload := make([]byte, max(bytes, 1))
	f.Payload = media.Payload{payload}
	key := &payload[0]
	s.mu.Lock()
	s.released[key] = 0
	for _, d := range f.Due {
		s.offered[unit{f.Stream, f.Sequence, d.Model}] = true
	}
	s.mu.Unlock()
	f.Release = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.released[key]++
	}
	s.Offer(f)
}

// drop gives why a unit of "camera" was dropped.
func (s *session) drop(sequence uint32, model string) media.DropReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops[unit{"camera", sequence, model}]
}

// reasons counts the drops.
func (s *session) reasons() map[media.DropReason]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := make(map[media.DropReason]int)
	for _, r := range s.drops {
		n[r]++
	}
	return n
}

// settle waits until no payload is with gRPC any more. One that was on a connection that broke is released by the garbage collector.
func (s *session) settle() {
	for range 1000 {
		if s.held() == 0 {
			return
		}
		pass(time.Millisecond)
		runtime.GC()
	}
}

// check closes the session and holds it to the promises: each unit and model was either sent or dropped, once, and each payload was
// released, once.
func (s *session) check() {
	s.Close()
	s.Close()
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range s.offered {
		_, sent := s.sent[at]
		_, dropped := s.drops[at]
		if sent == dropped {
			s.t.Errorf("%+v: sent %v, dropped %v (%s); want one of the two", at, sent, dropped, s.drops[at])
		}
	}
	for at := range s.answers {
		if _, sent := s.sent[at]; !sent {
			s.t.Errorf("%+v was answered but never sent", at)
		}
	}
	wrong := 0
	for _, n := range s.released {
		if n != 1 {
			wrong++
		}
	}
	if wrong > 0 {
		s.t.Errorf("%d of %d payloads were not released exactly once: %v", wrong, len(s.released), fmt.Sprint(s.released))
	}
}
