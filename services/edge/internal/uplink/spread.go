package uplink

import (
	"slices"
	"time"

	"google.golang.org/grpc/resolver"
)

// Sessions last, so a router that is added to relieve the others would stay idle if only new sessions went there. When the target has a new
// address, the sessions that the other routers have too many of move: each opens a call there before it leaves the one it has, as in a drain,
// and loses nothing but what a model remembers of its streams. Sessions move at no other time, but for drains and losses.
const (
	// spreadAfter is how long after a new address came the first session moves: by then it is connected, and serves.
	spreadAfter = 3 * time.Second
	// spreadFor is how long from then on sessions move.
	spreadFor = 20 * time.Second
	// spreadShare is the part of the sessions that is asked to move at a time.
	spreadShare = 8
)

// roster knows which router each session's calls are at. The Pool's lock guards it.
type roster struct {
	placed    map[*Uplink]string // the address of the router that a session's frames go to
	addresses []string           // of the target
	grew      time.Time          // when the newest of them came; zero when there never was any but the first
}

func newRoster() roster { return roster{placed: make(map[*Uplink]string)} }

// count gives the number of sessions at each router.
func (r *roster) count() map[string]int {
	n := make(map[string]int)
	for _, at := range r.placed {
		n[at]++
	}
	return n
}

// found notes the addresses of the target.
func (r *roster) found(addresses []string, now time.Time) {
	fresh := func(a string) bool { return !slices.Contains(r.addresses, a) }
	if len(r.addresses) > 0 && slices.ContainsFunc(addresses, fresh) {
		r.grew = now
	}
	r.addresses = addresses
}

// surplus gives sessions that should move now: of those beyond a router's fair share some at a time.
func (r *roster) surplus(now time.Time) (movers []*Uplink) {
	if since := now.Sub(r.grew); r.grew.IsZero() || since < spreadAfter || since > spreadAfter+spreadFor {
		return nil
	}
	share := (len(r.placed) + len(r.addresses) - 1) / max(1, len(r.addresses))
	counts, most := r.count(), max(1, len(r.placed)/spreadShare)
	for u, at := range r.placed {
		if counts[at] > share && len(movers) < most {
			counts[at]--
			movers = append(movers, u)
		}
	}
	return movers
}

// place notes the router that a session's frames go to from now on. An empty one means none.
func (p *Pool) place(u *Uplink, router string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if router == "" {
		delete(p.roster.placed, u)
		return
	}
	p.roster.placed[u] = router
}

// improves tells whether the sessions are spread better with this one at another router, and notes that it goes there if so.
func (p *Pool) improves(u *Uplink, router string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.roster.count()
	if counts[router]+1 >= counts[p.roster.placed[u]] {
		return false
	}
	p.roster.placed[u] = router
	return true
}

// found is told the addresses of the target whenever they change.
func (p *Pool) found(addresses []string) {
	p.metrics.routers.Set(float64(len(addresses)))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.found(addresses, time.Now())
}

// spread asks sessions to move if that is called for.
func (p *Pool) spread(now time.Time) {
	p.mu.Lock()
	movers := p.roster.surplus(now)
	p.mu.Unlock()
	for _, u := range movers {
		u.move()
	}
}

// move has the session look for another router than the one that it is at.
func (u *Uplink) move() {
	u.mu.Lock()
	u.moves = true
	u.mu.Unlock()
	u.nudge()
}

// telling is a resolver.Builder that also tells what its resolvers find.
type telling struct {
	resolver.Builder
	found func(addresses []string)
}

func (t telling) Build(target resolver.Target, cc resolver.ClientConn, options resolver.BuildOptions) (resolver.Resolver, error) {
	return t.Builder.Build(target, overheard{cc, t.found}, options)
}

type overheard struct {
	resolver.ClientConn
	found func(addresses []string)
}

func (o overheard) UpdateState(state resolver.State) error {
	addresses := make([]string, 0, len(state.Addresses))
	for _, a := range state.Addresses {
		addresses = append(addresses, a.Addr)
	}
	o.found(addresses)
	return o.ClientConn.UpdateState(state)
}
