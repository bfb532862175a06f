package dispatch

import (
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// mostBad is the number of frames of a stream, one after the other, that a model refuses before the next ones are not even sent.
	mostBad = 3
	// barredFor is how long they are not.
	barredFor = time.Second
)

// suspicions are about streams whose frames may be what a model refuses: these frames go alone, so that they fail nobody else's, until one of them has a result. A
// stream that sends nothing but bad frames is barred for a while at a time. It is a single-threaded value; it holds streams that the queue knows.
type suspicions map[lane]*suspicion

type suspicion struct {
	bad    int // frames refused, alone, one after the other
	code   media.ErrorCode
	barred time.Time // until when
}

// doubt notes that a stream had a frame in a batch that was refused.
func (s suspicions) doubt(key lane) {
	if s[key] == nil {
		s[key] = &suspicion{}
	}
}

// convict notes that a frame was refused for itself.
func (s suspicions) convict(key lane, code media.ErrorCode, now time.Time) {
	s.doubt(key)
	of := s[key]
	of.code = code
	if of.bad++; of.bad >= mostBad {
		of.barred = now.Add(barredFor)
	}
}

// clear notes that a frame of a stream had a result, or that the stream is over.
func (s suspicions) clear(key lane) {
	if len(s) > 0 {
		delete(s, key)
	}
}

// alone tells whether a stream's frames must go alone.
func (s suspicions) alone(key lane) bool { return len(s) > 0 && s[key] != nil }

// barred tells whether a stream's frames are not sent now, and what becomes of them instead.
func (s suspicions) barred(key lane, now time.Time) (media.ErrorCode, bool) {
	if len(s) == 0 {
		return media.NoError, false
	}
	of := s[key]
	if of == nil || !now.Before(of.barred) {
		return media.NoError, false
	}
	return of.code, true
}
