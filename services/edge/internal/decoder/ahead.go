package decoder

import (
	"errors"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// ahead are units that later ones refer to and that nobody wants as pictures. They wait for the next unit that is wanted, or for some more of
// their kind, and go to the process with it: waking a process costs more than handing over a unit, and decoding one after the other keeps the
// processor's caches warm. Of a camera's 30 pictures, when a model wants 10, the process is woken 10 times instead of 30.
type ahead struct {
	units []ipc.Ahead
	bytes []byte // as they will lie in the input area, padding included
}

// keep lets a unit wait. It is false for one that has to be decoded now: somebody wants it or waits for an earlier picture, which it may bring
// out; it is the stream's new beginning, of which it must be known whether it can be decoded; or there is no room for it.
func (s *stream) keep(r Request, request *ipc.Request) bool {
	room := len(s.ahead.units) < ipc.MaxAhead && len(s.ahead.bytes)+len(r.Unit.Data)+ipc.Padding <= ipc.MaxAheadBytes
	if !room || len(r.Targets) > 0 || len(s.pending) > 0 || s.codec.Intra() || s.needKey.Load() {
		return false
	}
	var padding [ipc.Padding]byte
	s.ahead.units = append(s.ahead.units, ipc.Ahead{Size: request.Size, Key: request.Key})
	s.ahead.bytes = append(append(s.ahead.bytes, r.Unit.Data...), padding[:]...)
	s.units++
	return true
}

// drop forgets the units that wait.
func (a *ahead) drop() { a.units, a.bytes = a.units[:0], a.bytes[:0] }

// patience is how long an answer may take: the timeout of one unit for each that was sent.
func patience(timeout time.Duration, ahead int) time.Duration {
	return timeout * time.Duration(1+ahead)
}

// behind is the error of a unit that was not decoded because one ahead of it could not be, by the status of that.
func behind(status ipc.Status) *Error {
	if status == ipc.NoMemory {
		return failed(status)
	}
	return &Error{Drop: media.Damaged, Err: errors.New("a unit before it cannot be decoded")}
}
