package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/spans"
)

// Request asks for a session.
type Request struct {
	// ID is the public id that the session gets, made by NewID. Empty: one is made.
	ID string
	// Offer is the client's SDP offer (RFC 8829), at most 64 KiB. It is not looked at where Media is not nil.
	Offer string
	// Media, when not nil, makes the edge offer what is needed to take it; Trickle must not be nil then.
	Media *peer.Media
	// Models are the names wanted; empty means all models that fit a stream.
	Models []string
	// Share is what the session is due of a model that has too much to do.
	Share media.Share
	// Trickle, when not nil, is handed the edge's own candidates as they are found, and nil once there are no more; the answer then does
	// not wait for them. It is called from one goroutine at a time, possibly before Create returns, never after Close returned, and must
	// not block. When it is nil the answer holds all candidates.
	Trickle func(*webrtc.ICECandidateInit)
}

const (
	// keptAfterEnd is how long an ended session is still known, for those who read its results and ask about its units.
	keptAfterEnd = 60 * time.Second
	// sweepEvery is how often that is checked.
	sweepEvery = 5 * time.Second
	// drainNotice is what draining clients are told when nothing bounds the drain.
	drainNotice = 20 * time.Second
)

// Manager holds the sessions of an edge. It is safe for concurrent use.
type Manager struct {
	deps     Deps
	outcomes outcomes
	turns    turns

	running sync.WaitGroup
	stop    context.CancelFunc

	mu       sync.Mutex
	draining bool
	closed   bool
	starting int                            // sessions being made
	live     map[string]*Session            // by id
	secrets  map[[sha256.Size]byte]*Session // live, by the hash of the secret: comparing hashes tells nothing about secrets
	ended    []ended                        // oldest first
	totals   totals                         // of ended sessions
}

type ended struct {
	session *Session
	at      time.Time
}

// NewManager makes a manager. Close must be called.
func NewManager(deps Deps) (*Manager, error) {
	if err := deps.validate(); err != nil {
		return nil, err
	}
	m := &Manager{
		deps: deps, outcomes: outcomes{watch: deps.Watch, metrics: newMetrics(deps.Limits.Sessions)}, turns: newTurns(),
		live: make(map[string]*Session), secrets: make(map[[sha256.Size]byte]*Session),
	}
	if deps.Registry != nil {
		if err := errors.Join(deps.Registry.Register(newCollector(m)), m.outcomes.metrics.register(deps.Registry)); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.running.Go(func() { m.sweep(ctx) })
	return m, nil
}

// NewID makes a public id for a session that may be created later. Where there are several edges it begins with the name of this one.
func (m *Manager) NewID() string {
	if m.deps.Edge != "" {
		return m.deps.Edge + "-" + randomWord(10)
	}
	return randomWord(10)
}

// Create starts a session and returns it with the SDP answer, or with the edge's offer. ctx bounds only the making of that. Errors are *Refusal.
func (m *Manager) Create(ctx context.Context, request Request) (*Session, string, error) {
	s, answer, err := m.create(ctx, request)
	if err != nil {
		m.outcomes.metrics.refused.WithLabelValues(string(err.Code)).Inc()
		return nil, "", err
	}
	m.outcomes.metrics.started.Inc()
	return s, answer, nil
}

func (m *Manager) create(ctx context.Context, request Request) (*Session, string, *Refusal) {
	if r := m.reserve(); r != nil {
		return nil, "", r
	}
	adopted := false
	defer func() {
		if !adopted {
			m.mu.Lock()
			m.starting--
			m.mu.Unlock()
		}
	}()
	if r := m.checkModels(request.Models); r != nil {
		return nil, "", r
	}
	s := m.newSession(request.ID)
	p, answer, err := m.connect(ctx, s, request)
	if err != nil {
		return nil, "", asRefusal(err, s.logger)
	}
	decoder, err := m.deps.NewDecoder()
	if err != nil {
		p.Close()
		s.logger.Error("no decoder", slog.String("error", err.Error()))
		return nil, "", refuse(http.StatusInternalServerError, CodeInternal, "the edge failed to make a decoder; its log says why")
	}
	s.mu.Lock()
	s.peer = p
	s.mu.Unlock()
	s.decoder = decoder
	s.uplink = m.deps.OpenUplink(s.id, request.Models, request.Share, fromUplink{s})
	adopted = m.adopt(s, request.Models) //nolint:contextcheck // the session outlives the request that made it
	if !adopted {
		s.uplink.Close()
		p.Close()
		_ = decoder.Close()
		return nil, "", refuse(http.StatusServiceUnavailable, CodeDraining, "the edge is shutting down; connect to another one")
	}
	return s, answer, nil
}

// connect makes a session's connection and gives the edge's description.
func (m *Manager) connect(ctx context.Context, s *Session, request Request) (*peer.Peer, string, error) {
	if request.Media != nil {
		return m.deps.Endpoint.Offer(ctx, *request.Media, request.Trickle, fromPeer{s})
	}
	pictures := m.lastKnown(request.Models).pictures()
	return m.deps.Endpoint.Answer(ctx, request.Offer, pictures, request.Trickle, fromPeer{s})
}

// reserve takes a place among the sessions.
func (m *Manager) reserve() *Refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.draining || m.closed:
		return refuse(http.StatusServiceUnavailable, CodeDraining, "the edge is shutting down; connect to another one")
	case len(m.live)+m.starting >= m.deps.Limits.Sessions:
		return refuse(http.StatusServiceUnavailable, CodeTooManySessions,
			"this edge serves %d sessions, which is its limit; try again or connect to another one", m.deps.Limits.Sessions)
	}
	m.starting++
	return nil
}

// adopt puts a session among the live ones and starts it.
func (m *Manager) adopt(s *Session, models []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.draining || m.closed {
		return false
	}
	m.starting--
	m.live[s.id] = s
	m.secrets[sha256.Sum256([]byte(s.secret))] = s
	m.running.Go(func() {
		s.run(func() *wants { return m.lastKnown(models) })
		m.retire(s)
		close(s.done)
	})
	return true
}

// checkModels refuses names that no router has.
func (m *Manager) checkModels(wanted []string) *Refusal {
	catalog := m.deps.Catalog()
	if !catalog.Known {
		return refuse(http.StatusServiceUnavailable, CodeNoRouter, "the edge has not reached a router yet, so it knows no models")
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(catalog.Models, func(m media.Model) bool { return m.Name == name }) {
			names := make([]string, 0, len(catalog.Models))
			for _, m := range catalog.Models {
				names = append(names, m.Name)
			}
			return refuse(http.StatusUnprocessableEntity, CodeUnknownModel, "there is no model %.64q; there are: %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// lastKnown gives what the catalog says about a session's models.
func (m *Manager) lastKnown(wanted []string) *wants {
	catalog := m.deps.Catalog()
	w := newWants(catalog.Models, catalog.Inputs)
	w.models, w.hearsay = w.narrowed(wanted), true
	return w
}

func (m *Manager) newSession(id string) *Session {
	if id == "" {
		id = m.NewID()
	}
	s := &Session{
		id: id, secret: randomWord(16), started: time.Now(),
		logger: m.deps.Logger.With(slog.String("session", id)), limits: m.deps.Limits, outcomes: m.outcomes,
		hub: downlink.NewHub(), budget: newBudget(m.deps.Limits.Bitrate, m.deps.Limits.Message), turns: m.turns, reports: newReportBoard(),
		events: make(chan event, maxEvents), ending: make(chan string, 1), connected: make(chan struct{}, 1), done: make(chan struct{}),
		connection: Connecting, told: make(chan struct{}),
	}
	s.tell = sync.OnceFunc(func() { close(s.told) })
	s.book = newBook(id, s.deliver)
	s.spans = spans.NewSession(id, m.deps.Tracer)
	s.book.spans = s.spans
	return s
}

// retire takes a session that has ended from the live ones and keeps what is asked about for a while.
func (m *Manager) retire(s *Session) {
	counts := s.Counts()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.live, s.id)
	delete(m.secrets, sha256.Sum256([]byte(s.secret)))
	m.totals.add(counts)
	m.ended = append(m.ended, ended{s, time.Now()})
	if len(m.ended) > m.deps.Limits.Sessions {
		m.ended = slices.Delete(m.ended, 0, 1)
	}
}

// sweep forgets ended sessions when their time has come, until ctx ends.
func (m *Manager) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			m.mu.Lock()
			m.ended = slices.DeleteFunc(m.ended, func(e ended) bool { return now.Sub(e.at) >= keptAfterEnd })
			m.mu.Unlock()
		}
	}
}

// Draining tells whether Drain was called; new sessions are refused from then on.
func (m *Manager) Draining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draining
}

// Drain refuses new sessions, tells every client to reconnect elsewhere, and returns when all sessions have ended or ctx has: then the
// remaining ones are closed.
func (m *Manager) Drain(ctx context.Context) {
	m.mu.Lock()
	m.draining = true
	m.mu.Unlock()
	within := drainNotice
	if deadline, ok := ctx.Deadline(); ok {
		within = max(0, time.Until(deadline))
	}
	sessions := m.List()
	for _, s := range sessions {
		s.drain(within)
	}
	for _, s := range sessions {
		select {
		case <-s.done:
		case <-ctx.Done():
			s.end("the edge shuts down")
		}
	}
	for _, s := range sessions {
		<-s.done
	}
}

// Close ends all sessions at once and joins everything that the manager started.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	for _, s := range m.List() {
		s.end("the edge stops")
	}
	m.stop()
	m.running.Wait()
}

// randomWord gives random bytes in lower-case base32.
func randomWord(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
