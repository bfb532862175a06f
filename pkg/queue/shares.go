package queue

const (
	// service is how far one service moves on the turn of a stream of weight 1.
	service = 1 << 16
	// floor is what a class is owed, in parts of a service, for each service while it waits: a twentieth.
	floor = service / 20
	// borne is the number of entries that may expire in a row before the stream goes before its turn, and mostDenied ends that: one whose entries always come too late must
	// not go before all others for long when they come in time again.
	borne, mostDenied = 3, borne + 8
	// mostOwed bounds what a class can save up, for what it waits with may be of no use to the one who serves.
	mostOwed = 2 * service
)

// shares is what streams and classes are due. Its zero value is ready.
type shares struct {
	classes []class // by number, as many as were ever seen
	owed    []int   // scratch of due
}

// class is a class of streams.
type class struct {
	// turn is the one at which service stands: the least that was served last, not counting the present round. A round is what was served since the last entry
	// came; least is the least turn in it, if any.
	turn, least uint64
	round       bool
	waiting     int    // streams
	owed        uint64 // in parts of a service
}

// of gives a class.
func (s *shares) of(number uint8) *class {
	for len(s.classes) <= int(number) {
		s.classes = append(s.classes, class{})
	}
	return &s.classes[number]
}

// joins gives the turn of a stream of a class that has nothing due to it, and ends the class's round.
func (s *shares) joins(number uint8, step uint64) uint64 {
	c := s.of(number)
	if c.round {
		c.turn, c.round = max(c.turn, c.least), false
	}
	return c.turn - min(c.turn, step)
}

// served counts a service of a stream of a class.
func (s *shares) served(number uint8, turn uint64) {
	if c := s.of(number); !c.round || turn < c.least {
		c.least, c.round = turn, true
	}
	for i := 1; i < len(s.classes); i++ {
		c := &s.classes[i]
		if c.waiting > 0 {
			c.owed = min(mostOwed, c.owed+floor)
		}
		if i == int(number) {
			c.owed -= min(c.owed, service)
		}
	}
}

// waits counts a stream that begins to wait.
func (s *shares) waits(number uint8) { s.of(number).waiting++ }

// leaves counts one that does not wait any more. A class that does not wait is owed nothing.
func (s *shares) leaves(number uint8) {
	c := s.of(number)
	if c.waiting--; c.waiting == 0 {
		c.owed = 0
	}
}

// due gives what is owed to each class, in whole services; nil when there is but one.
func (s *shares) due() []int {
	if len(s.classes) < 2 {
		return nil
	}
	s.owed = s.owed[:0]
	for _, c := range s.classes {
		s.owed = append(s.owed, int(c.owed/service))
	}
	return s.owed
}
