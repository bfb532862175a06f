package session

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
)

// ByID finds a session by its public id, also one that ended less than a minute ago.
func (m *Manager) ByID(id string) (*Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.live[id]; ok {
		return s, true
	}
	for _, e := range m.ended {
		if e.session.id == id {
			return e.session, true
		}
	}
	return nil, false
}

// BySecret finds a live session by its secret; the comparison does not tell how much of a wrong secret was right.
func (m *Manager) BySecret(secret string) (*Session, bool) {
	hash := sha256.Sum256([]byte(secret))
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.secrets[hash]
	return s, ok
}

// List gives the live sessions, oldest first.
func (m *Manager) List() []*Session {
	m.mu.Lock()
	list := make([]*Session, 0, len(m.live))
	for _, s := range m.live {
		list = append(list, s)
	}
	m.mu.Unlock()
	slices.SortFunc(list, func(a, b *Session) int {
		if order := a.started.Compare(b.started); order != 0 {
			return order
		}
		return strings.Compare(a.id, b.id)
	})
	return list
}

// Totals gives the counts by model of all sessions since the start, live and ended. They begin again at zero after 2^32.
func (m *Manager) Totals() []media.ModelCounts {
	models := m.snapshot().models
	counts := make([]media.ModelCounts, 0, len(models))
	for i := range models {
		counts = append(counts, models[i].counts())
	}
	return counts
}

// snapshot adds the live sessions' counts to those of the ended ones.
func (m *Manager) snapshot() totals {
	// Under the lock no session can move from the live ones to the ended ones, and so be counted twice or not at all.
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.totals
	t.models = slices.Clone(t.models)
	t.sessions, t.draining = len(m.live), m.draining
	for _, s := range m.live {
		t.add(s.Counts())
	}
	return t
}

// Explain gives one unit's life: what is known of the last 512 units of each stream, until a minute after the session's end.
func (m *Manager) Explain(session, stream string, sequence uint32) (ledger.Life, bool) {
	s, ok := m.ByID(session)
	if !ok {
		return ledger.Life{}, false
	}
	return s.book.explain(stream, sequence)
}
