package stub

import "time"

// Batch is one batch that ran. Times are since the server's start.
type Batch struct {
	Instance int           `json:"instance"`
	Size     int           `json:"size"`
	Requests int           `json:"requests"`
	Arrived  time.Duration `json:"arrived"` // of its oldest request
	Started  time.Duration `json:"started"`
	Ended    time.Duration `json:"ended"`
	Planned  time.Duration `json:"planned"` // what it was to take; Ended - Started is what it took
	Heads    []uint64      `json:"heads"`   // the first eight bytes of its frames, little-endian
}

// Journal is what a server has done.
type Journal struct {
	// Batches have ended, oldest first.
	Batches []Batch `json:"batches"`
	// Lost counts older ones that were forgotten.
	Lost int `json:"lost"`
	// Rejected counts requests that were refused, or had waited for too long.
	Rejected int `json:"rejected"`
	// Most is the largest number of requests whose clients waited at once, for each instance of the server.
	Most float64 `json:"most"`
}

// kept bounds the batches that are remembered.
const kept = 1 << 16

type journal struct {
	batches        []Batch
	lost, rejected int
	inHand, most   int // requests whose clients wait
}

func (j *journal) add(b Batch) {
	if len(j.batches) == kept {
		half := kept / 2
		j.lost += half
		j.batches = append(j.batches[:0], j.batches[half:]...)
	}
	j.batches = append(j.batches, b)
}

func (j *journal) enter() {
	j.inHand++
	j.most = max(j.most, j.inHand)
}

// Journal tells what the server has done since it was last asked to forget.
func (s *Server) Journal() Journal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Journal{
		Batches: append([]Batch(nil), s.journal.batches...), Lost: s.journal.lost, Rejected: s.journal.rejected,
		Most: float64(s.journal.most) / float64(s.cfg.Instances),
	}
}

// Forget empties the journal.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = journal{inHand: s.journal.inHand}
}
