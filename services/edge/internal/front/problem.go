package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Code is the stable, machine-readable word of a problem. The package comment lists them all.
type Code string

// The codes that this package makes itself; [Sessions] adds its own.
const (
	codeInvalidRequest       Code = "INVALID_REQUEST"
	codeInvalidSDP           Code = "INVALID_SDP"
	codeInvalidMessage       Code = "INVALID_MESSAGE"
	codeNoOffer              Code = "NO_OFFER"
	codeUnauthorized         Code = "UNAUTHORIZED"
	codeOriginNotAllowed     Code = "ORIGIN_NOT_ALLOWED"
	codeNotFound             Code = "NOT_FOUND"
	codeSessionNotFound      Code = "SESSION_NOT_FOUND"
	codeMethodNotAllowed     Code = "METHOD_NOT_ALLOWED"
	codeRequestTimeout       Code = "REQUEST_TIMEOUT"
	codeBodyTooLarge         Code = "BODY_TOO_LARGE"
	codeSDPTooLarge          Code = "SDP_TOO_LARGE"
	codePreconditionFailed   Code = "PRECONDITION_FAILED"
	codeUnsupportedMediaType Code = "UNSUPPORTED_MEDIA_TYPE"
	codeUpgradeRequired      Code = "UPGRADE_REQUIRED"
	codePreconditionRequired Code = "PRECONDITION_REQUIRED"
	codeInternal             Code = "INTERNAL"
	codeNoRouter             Code = "NO_ROUTER"
	codeTooManyConnections   Code = "TOO_MANY_CONNECTIONS"
	codeEdgeUnreachable      Code = "EDGE_UNREACHABLE"
	codeDraining             Code = "DRAINING"
)

// retryLater is what a client is told to wait when the edge expects to be able to serve it soon.
const retryLater = 2 * time.Second

// Problem says why a request was not granted. It goes to the client as it is, so it holds no SDP, token or word of another party.
type Problem struct { //nolint:errname // RFC 9457's word for it
	// Status is the HTTP status.
	Status int
	Code   Code
	// Detail is for people: what was wrong, where, and what to do.
	Detail string
	// RetryAfter is how long to wait before trying again; zero means that trying again does not help. It is rounded up to seconds.
	RetryAfter time.Duration
}

// Error implements error.
func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Code, p.Detail) }

func refuse(status int, code Code, format string, args ...any) *Problem {
	return &Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// asProblem gives the problem that a client is told for err; known is false when err is a defect of ours, whose words stay inside.
func asProblem(err error) (problem *Problem, known bool) {
	if errors.As(err, &problem) {
		return problem, true
	}
	return refuse(http.StatusInternalServerError, codeInternal, "the edge failed to handle this; its log says why"), false
}

// writeProblem answers with the problem document. Headers set before stay.
func writeProblem(w http.ResponseWriter, problem *Problem) {
	document := struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   Code   `json:"code"`
	}{http.StatusText(problem.Status), problem.Status, problem.Detail, problem.Code}
	body, err := json.Marshal(document)
	if err != nil { // strings and an integer always marshal
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if problem.Code == codeDraining {
		h.Set("Connection", "close") // On the same connection the next attempt would come here again.
	}
	if problem.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((problem.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(problem.Status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
