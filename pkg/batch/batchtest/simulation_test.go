package batchtest

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluice-dev/sluice/pkg/batch"
	"github.com/sluice-dev/sluice/pkg/queue"
)

// epoch is when simulations begin.
var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// scenario is one run: cameras whose frames wait in a queue of slots, a policy, and instances of a model that take base + each·n for n frames, with a
// little noise and a rare spike.
type scenario struct {
	base, each time.Duration
	instances  int
	load       float64 // offered, of the best throughput
	shape      Shape
	seed       uint64
	length     time.Duration // of which the first part warms up
	// hidden is true when the instances do not tell how long they computed.
	hidden bool
	// cold is true when the model was not warmed up.
	cold   bool
	faults []fault
	// watch is called after each decision, and landed after each answer.
	watch  func(s *simulation, d batch.Decision)
	landed func(s *simulation, f *flight)
}

// fault is a change of an instance's speed, or of all when instance is negative; a factor of 0 means that it hangs.
type fault struct {
	at       time.Duration
	instance int
	factor   float64
}

const (
	budget   = 100 * time.Millisecond // of a frame
	network  = time.Millisecond       // each way
	warmUp   = 2 * time.Second
	largest  = 32 // frames in a batch
	noise    = 0.03
	spikes   = 0.005
	spikeBy  = 1.5
	slots    = 2
	shareAll = 250 * time.Millisecond // of simulation.timeline
)

func (c scenario) seconds(size int) float64 { return (c.base + time.Duration(size)*c.each).Seconds() }

// peak is the best throughput of all instances within the frames' time, in frames a second.
func (c scenario) peak() float64 {
	best := 0.0
	for b := 1; b <= largest && c.seconds(b)+2*network.Seconds() <= budget.Seconds(); b++ {
		best = max(best, float64(b)/c.seconds(b))
	}
	return best * float64(c.instances)
}

// simulation is a run of a scenario.
type simulation struct {
	scenario
	random  *rand.Rand
	policy  *batch.Fresh
	queue   *queue.Queue[int, Arrival]
	periods []time.Duration
	trace   []Arrival
	account *Account
	servers []server
	landing landings
	now     time.Duration
	wake    time.Duration // 0 for none
	// timeline is the number of answers in time, by quarter of a second.
	timeline []int
	fates    fates
	batches  []int // sizes
	state    batch.State
	items    []batch.Item
	keys     []int
	spare    []*flight
}

// fates counts what became of the frames that arrived.
type fates struct{ arrived, answered, superseded, expired, lost int }

// server is an instance as it is, not as the policy sees it.
type server struct {
	free    time.Duration
	flights []*flight
}

type flight struct {
	instance, order int
	frames          []Arrival
	sent, lands     time.Duration
	took            time.Duration
	givenUp         bool
}

const never = time.Duration(1<<63 - 1)

func newSimulation(c scenario) *simulation {
	random := rand.New(rand.NewPCG(c.seed, 20261122))
	periods := Periods(c.load * c.peak())
	s := &simulation{
		scenario: c, random: random, policy: batch.NewFresh(batch.Options{NetworkDelay: network}), queue: queue.New[int, Arrival](len(periods)),
		periods: periods, account: NewAccount(len(periods), budget, warmUp, c.length), servers: make([]server, c.instances),
		state:    batch.State{Max: largest, Slots: slots, Instances: make([]batch.Instance, c.instances)},
		timeline: make([]int, c.length/shareAll+1),
	}
	for i := range s.state.Instances {
		s.state.Instances[i].Ready = true
		for size := 1; size <= largest && !c.cold; size *= 2 {
			took := s.service(size)
			s.policy.Observe(batch.Completion{Instance: i, Size: size, Sent: epoch.Add(-took), Done: epoch, Compute: took, End: batch.Rehearsed})
		}
	}
	s.trace = Arrivals(s.shape, s.periods, s.length, s.random)
	return s
}

// service draws the time of a batch.
func (s *simulation) service(size int) time.Duration {
	took := s.seconds(size) * max(0.5, 1+noise*s.random.NormFloat64())
	if s.random.Float64() < spikes {
		took *= spikeBy
	}
	return time.Duration(took * float64(time.Second))
}

// run simulates all of it.
func (s *simulation) run() Report {
	arrivals := s.trace
	for {
		next, what := never, 0
		if len(arrivals) > 0 {
			next, what = arrivals[0].At, 1
		}
		if len(s.landing) > 0 && s.landing[0].lands < next {
			next, what = s.landing[0].lands, 2
		}
		if s.wake > 0 && s.wake < next {
			next, what = s.wake, 3
		}
		if next > s.length {
			return s.account.Report()
		}
		s.now = max(s.now, next)
		switch what {
		case 1:
			s.arrive(arrivals[0])
			arrivals = arrivals[1:]
		case 2:
			s.land(heap.Pop(&s.landing).(*flight))
		}
		s.step()
	}
}

func (s *simulation) arrive(a Arrival) {
	s.fates.arrived++
	s.account.Arrived(a.Stream, a.At)
	s.policy.Arrived(epoch.Add(s.now), 1)
	at := epoch.Add(a.At)
	if _, verdict := s.queue.Push(queue.Entry[int, Arrival]{Key: a.Stream, Value: a, Arrived: at, Deadline: at.Add(budget)}); verdict == queue.Replaced {
		s.fates.superseded++
	}
}

// land ends a flight that its server has answered, or that was given up.
func (s *simulation) land(f *flight) {
	if f.givenUp {
		s.spare = append(s.spare, f) // its server was busy with it until now
		return
	}
	s.observe(f, batch.Ran)
	for _, a := range f.frames {
		s.fates.answered++
		s.account.Answered(a, s.now)
		if s.now <= a.At+budget {
			s.timeline[s.now/shareAll]++
		}
	}
	if s.landed != nil {
		s.landed(s, f)
	}
	s.spare = append(s.spare, f)
}

func (s *simulation) observe(f *flight, end batch.End) {
	server := &s.servers[f.instance]
	server.flights = slices.DeleteFunc(server.flights, func(g *flight) bool { return g == f })
	c := batch.Completion{Instance: f.instance, Size: len(f.frames), Sent: epoch.Add(f.sent), Done: epoch.Add(s.now), End: end}
	if !s.hidden && end == batch.Ran {
		c.Compute = f.took
	}
	s.policy.Observe(c)
}

// step does what the policy says, until it says nothing more.
func (s *simulation) step() {
	for again := true; again; {
		d := s.decide()
		again = len(d.Send) > 0 || len(d.Expire) > 0
		if s.wake = 0; !d.Wake.IsZero() {
			s.wake = d.Wake.Sub(epoch)
		}
		for _, i := range d.Expire {
			s.queue.Drop(s.keys[i])
			s.fates.expired++
		}
		if len(d.Send) > 0 {
			s.send(d)
		}
		var overdue []*flight
		for _, o := range d.GiveUp {
			overdue = append(overdue, s.servers[o.Instance].flights[o.Flight])
		}
		for _, f := range overdue {
			f.givenUp = true
			s.fates.lost += len(f.frames)
			s.observe(f, batch.Silent)
			again = true
		}
	}
}

func (s *simulation) decide() batch.Decision {
	s.state.Now = epoch.Add(s.now)
	for i := range s.servers {
		flights := s.state.Instances[i].Flights[:0]
		for _, f := range s.servers[i].flights {
			flights = append(flights, batch.Flight{Size: len(f.frames), Sent: epoch.Add(f.sent)})
		}
		s.state.Instances[i].Flights = flights
	}
	s.items, s.keys = s.items[:0], s.keys[:0]
	d := s.policy.Decide(nil, s.state)
	if d.Instance == batch.NoInstance {
		return d
	}
	for i := range s.queue.Offered() {
		e := s.queue.At(i)
		s.items, s.keys = append(s.items, batch.Item{Arrived: e.Arrived, Deadline: e.Deadline, Turn: e.Turn}), append(s.keys, e.Key)
	}
	d = s.policy.Decide(s.items, s.state)
	if s.watch != nil {
		s.watch(s, d)
	}
	return d
}

// send puts a batch on its way. A server runs one after the other.
func (s *simulation) send(d batch.Decision) {
	f := &flight{}
	if n := len(s.spare); n > 0 {
		f, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	server := &s.servers[d.Instance]
	*f = flight{instance: d.Instance, order: len(s.batches), frames: f.frames[:0], sent: s.now}
	for _, i := range d.Send {
		e, _ := s.queue.Take(s.keys[i])
		f.frames = append(f.frames, e.Value)
	}
	s.batches = append(s.batches, len(f.frames))
	server.flights = append(server.flights, f)
	begin := max(s.now+network, server.free)
	factor := 1.0
	for _, fault := range s.faults {
		if begin >= fault.at && (fault.instance < 0 || fault.instance == d.Instance) {
			factor = fault.factor
		}
	}
	if f.took = times(s.service(len(f.frames)), factor); factor == 0 || server.free == never {
		server.free, f.lands = never, never
		return
	}
	server.free = begin + f.took
	f.lands = server.free + network
	heap.Push(&s.landing, f)
}

// landings is a heap of the flights by when they land.
type landings []*flight

func (l landings) Len() int { return len(l) }
func (l landings) Less(i, j int) bool {
	return l[i].lands < l[j].lands || l[i].lands == l[j].lands && l[i].order < l[j].order
}
func (l landings) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *landings) Push(x any)   { *l = append(*l, x.(*flight)) }
func (l *landings) Pop() any {
	last := len(*l) - 1
	f := (*l)[last]
	*l = (*l)[:last]
	return f
}
