package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Error is why a batch got no answer. Its text holds only words of this program and of the configuration, so that it may go anywhere. What
// the target said is in Remote, which is for the log of the operator and never for a client.
type Error struct {
	// Code is what clients see: one of the BACKEND codes, or INTERNAL.
	Code media.ErrorCode
	// Target names the target; empty when no target was reached.
	Target string
	// Reason says what was wrong in this program's words.
	Reason string
	// Remote is what the target said: at most 256 bytes of printable text, whatever it was.
	Remote string
	// Err is the cause, when it is one of this program's own or a context error.
	Err error
}

const maxRemote = 256

// Fail makes an error whose cause lies at a target. remote may be anything: it is made printable and cut.
func Fail(code media.ErrorCode, reason, remote string) *Error {
	return &Error{Code: code, Reason: reason, Remote: printable(remote)}
}

// Error says what was wrong, without the target's words.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Code.String())
	if e.Target != "" {
		fmt.Fprintf(&b, " at %s", e.Target)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// LogValue puts the target's words into the log beside ours.
func (e *Error) LogValue() slog.Value {
	attributes := []slog.Attr{slog.String("message", e.Error())}
	if e.Remote != "" {
		attributes = append(attributes, slog.String("remote", e.Remote))
	}
	return slog.GroupValue(attributes...)
}

// CodeOf gives the code that clients see for an error of this package: NoError for nil, INTERNAL for an error that has none.
func CodeOf(err error) media.ErrorCode {
	if err == nil {
		return media.NoError
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return media.Internal
}

// ContextError gives the error for a batch whose context ended: BACKEND_TIMEOUT when its time ran out, BACKEND_UNAVAILABLE when the caller gave
// it up.
func ContextError(ctx context.Context) *Error {
	cause := ctx.Err()
	if errors.Is(cause, context.Canceled) {
		return &Error{Code: media.BackendUnavailable, Reason: "the batch was given up", Err: cause}
	}
	return &Error{Code: media.BackendTimeout, Reason: "no answer in time", Err: context.DeadlineExceeded}
}

// Mismatch says that a target serves another model than the configuration describes. It does not pass by itself: one of the two has to be
// changed.
type Mismatch struct { //nolint:errname // backend.Mismatch says it
	Model, Target string
	// Problem says what does not fit.
	Problem string
	// Configured and Served describe both sides in the same form, for comparing line by line.
	Configured, Served string
	// Change names the keys of the model's configuration that would settle it, with their values where these are known; empty when none would.
	Change string
}

// Error shows both sides, one under the other, and what to do.
func (m *Mismatch) Error() string {
	change := "the model that is served: no key of the configuration helps"
	if m.Change != "" {
		change = m.Change + "; or the model that is served"
	}
	return fmt.Sprintf("model %s at %s does not fit the configuration: %s\n  configured: %s\n  served:     %s\n  to change:  %s",
		m.Model, m.Target, m.Problem, m.Configured, m.Served, change)
}

// printable makes a text of a target fit for a log: see cut.
func printable(text string) string { return cut(text, maxRemote) }

// cut shortens a text to a number of bytes and replaces what could garble a terminal or a log.
func cut(text string, limit int) string {
	var b strings.Builder
	for _, r := range text {
		if !unicode.IsPrint(r) {
			r = ' '
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
