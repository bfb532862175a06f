package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// Code is the stable, machine-readable word of a refusal; HTTP puts it into a problem's "code", the WebSocket into Problem.code.
type Code string

// The codes of refusals. New ones may be added; none changes its meaning.
const (
	CodeInvalidSDP       Code = "INVALID_SDP"       // not an SDP offer, or one that breaks a rule; 400
	CodeTooLarge         Code = "SDP_TOO_LARGE"     // more bytes, media descriptions or candidates than allowed; 413
	CodeNothingSent      Code = "NOTHING_SENT"      // the offer sends neither media nor messages; 422
	CodeUnsupportedCodec Code = "UNSUPPORTED_CODEC" // a media description without any codec that is accepted; 422
	CodeUnknownModel     Code = "UNKNOWN_MODEL"     // 422
	CodeInvalidCandidate Code = "INVALID_CANDIDATE" // 400
	CodeNotDue           Code = "NOT_DUE"           // an offer or answer that the session does not wait for; 409
	CodeTooManySessions  Code = "TOO_MANY_SESSIONS" // 503
	CodeDraining         Code = "DRAINING"          // 503
	CodeNoRouter         Code = "NO_ROUTER"         // no router was reached since the edge started; 503
	CodeSessionClosed    Code = "SESSION_NOT_FOUND" // 404
	CodeRequestTimeout   Code = "REQUEST_TIMEOUT"   // the client left before its answer was made; 408
	CodeInternal         Code = "INTERNAL"          // 500
)

// Refusal says why a request was not granted. It is safe to show to clients: it never holds SDP, addresses or words of other parties.
type Refusal struct { //nolint:errname // it says no and why, as an HTTP status and a problem
	// Status is the HTTP status that fits.
	Status int
	Code   Code
	// Detail is for people: what was wrong, where, and what to do.
	Detail string
	// RetryAfter is how long to wait before trying again; zero means that trying again does not help.
	RetryAfter time.Duration
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Code, r.Detail) }

const (
	// retryAfter is what a full edge tells clients: long enough that a crowd does not hammer, short enough to feel alive.
	retryAfter = 5 * time.Second
	// retryElsewhere is what one tells them that drains: another edge may take them at once.
	retryElsewhere = time.Second
)

func refuse(status int, code Code, format string, args ...any) *Refusal {
	r := &Refusal{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
	switch {
	case code == CodeDraining:
		r.RetryAfter = retryElsewhere
	case status == http.StatusServiceUnavailable:
		r.RetryAfter = retryAfter
	}
	return r
}

// asRefusal puts an error of the peer into words for the client. What is no doing of the client's goes to the log only.
func asRefusal(err error, logger *slog.Logger) *Refusal {
	var offer *peer.RefusedOffer
	switch {
	case errors.Is(err, peer.ErrClosed):
		return errEnded()
	case errors.Is(err, peer.ErrNotDue):
		return refuse(http.StatusConflict, CodeNotDue,
			"this is not due: whoever made a session's first offer makes all of them, each after the answer to the one before, and an answer needs an offer")
	case errors.Is(err, context.Canceled):
		return refuse(http.StatusRequestTimeout, CodeRequestTimeout, "the client left before its answer was made")
	case !errors.As(err, &offer):
		logger.Error("an offer could not be answered", slog.String("error", err.Error()))
		return refuse(http.StatusInternalServerError, CodeInternal, "the edge failed to answer the offer; its log says why")
	case errors.Is(offer.Reason, peer.ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, CodeTooLarge, "%s", offer.Detail)
	case errors.Is(offer.Reason, peer.ErrNothingSent):
		return refuse(http.StatusUnprocessableEntity, CodeNothingSent, "%s", offer.Detail)
	case errors.Is(offer.Reason, peer.ErrUnsupportedCodec):
		return refuse(http.StatusUnprocessableEntity, CodeUnsupportedCodec, "%s", offer.Detail)
	default:
		return refuse(http.StatusBadRequest, CodeInvalidSDP, "%s", offer.Detail)
	}
}
