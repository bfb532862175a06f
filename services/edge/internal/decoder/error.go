package decoder

import (
	"errors"
	"fmt"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Error is what becomes of a unit that cannot be decoded. Exactly one of Code and Drop is set.
type Error struct {
	Code media.ErrorCode
	Drop media.DropReason
	// NeedKey is true when the stream's next units are given up until a key unit comes: ask for one.
	NeedKey bool
	// Crashed is true when the process ended; every stream of the Decoder then needs a key unit.
	Crashed bool
	// Err says what happened, for logs.
	Err error
}

// Error gives the reason or code, and what happened.
func (e *Error) Error() string {
	name := e.Code.String()
	if e.Drop != media.NotDropped {
		name = e.Drop.String()
	}
	return fmt.Sprintf("decoder: %s: %v", name, e.Err)
}

// Unwrap gives what happened.
func (e *Error) Unwrap() error { return e.Err }

// ErrClosed is wrapped by the errors of a Decoder that was closed.
var ErrClosed = errors.New("the decoder is closed")

// Sandbox says how much of the sandbox must stand before a unit is decoded; as text: required, best-effort, off.
type Sandbox = ipc.Sandbox

// The demands.
const (
	Required   = ipc.Required
	BestEffort = ipc.BestEffort
	Off        = ipc.Off
)
