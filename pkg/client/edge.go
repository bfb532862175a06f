package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tmaxmax/go-sse"
	"google.golang.org/protobuf/encoding/protojson"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Where [Edge.Follow] begins, beside an [Event]'s ID.
const (
	// FromStart begins with the oldest message that the edge keeps: the last 512 of the session, at most 256 KiB.
	FromStart = "0"
	// FromNow begins with the next message; when the connection is lost before one came, with the next one after that.
	FromNow = ""
)

const (
	// silence is how long a stream may say nothing. The edge sends a comment every 15 s, so after this the connection is dead.
	silence = 50 * time.Second
	// maxEvent is the size of the largest event that is read, in bytes.
	maxEvent = 4 << 20
	// protocol is the version of the protocol that is understood here. An edge that says none is taken to speak it.
	protocol = "1"
	// maxProblem is what is read of a refusal, in bytes.
	maxProblem = 4 << 10
)

var (
	errSilent = errors.New("the edge fell silent")
	errBroken = errors.New("the edge ended the stream before the session ended")
)

// Edge is the public HTTP side of an edge. It may be used concurrently.
type Edge struct {
	// URL is the edge's address, https://edge.example.
	URL string
	// Token is sent as a bearer token unless it is empty.
	Token string
	// HTTP makes the requests; nil takes http.DefaultClient. It must have no Timeout, which would end a healthy stream.
	HTTP *http.Client
}

// Event is one message of a session.
type Event struct {
	// ID is the place in the session's messages, for [Edge.Follow] to go on after this one. A message of skipped outcomes has that of the message before.
	ID string
	// Message holds an outcome, a drain notice, the session's summary, or whatever else sluice.v1.ServerMessage names.
	Message *sluicev1.ServerMessage
}

// Follow gives the messages of a session, by its public id, that come after the one named: an [Event]'s ID, FromStart or FromNow. They come in order, none twice; what a slow reader or
// a long absence loses is told by messages that count the skipped outcomes. The iteration ends with the session. It ends with an error, which comes last and alone, when ctx ends; when
// the edge refuses, a *[Problem] (SESSION_NOT_FOUND too after the edge was restarted); when it sends what cannot be read; and when it was not to be reached for a minute.
func (e *Edge) Follow(ctx context.Context, session, after string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var away outage
		for {
			s := stream{edge: e, session: session, after: after, yield: yield}
			err := s.run(ctx)
			after = s.after
			switch {
			case s.done:
				return
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case s.fatal:
				yield(Event{}, err)
				return
			case s.opened:
				away.over()
			}
			if err := away.wait(ctx, err, s.retryAfter); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// stream is one request for a session's messages.
type stream struct {
	edge           *Edge
	session, after string
	yield          func(Event, error) bool

	// opened tells that the edge answered with events, done that nothing is left to do, fatal that trying again does not help.
	opened, done, fatal bool
	retryAfter          time.Duration
}

// run makes the request and gives what the edge sends on. The error says why it ended, unless s.done.
func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	response, err := s.request(ctx)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = response.Body.Close() }()
	if spoken := response.Header.Get("Sluice-Protocol"); spoken != "" && spoken != protocol {
		s.fatal = true
		return fmt.Errorf("the edge speaks version %.20s of the protocol, this package version %s: take the package of the edge's version", spoken, protocol)
	}
	if response.StatusCode != http.StatusOK {
		return s.refused(response)
	}
	s.opened = true
	body := watched{Reader: response.Body, alive: func() { watchdog.Reset(silence) }}
	for event, err := range sse.Read(body, &sse.ReadConfig{MaxEventSize: maxEvent}) {
		if err != nil {
			s.fatal = errors.Is(err, bufio.ErrTooLong)
			return fmt.Errorf("the edge's events broke off: %w", errors.Join(err, context.Cause(ctx)))
		}
		if err := s.deliver(event); err != nil || s.done {
			return err
		}
	}
	return errBroken
}

func (s *stream) request(ctx context.Context) (*http.Response, error) {
	address, err := url.JoinPath(s.edge.URL, "sessions", url.PathEscape(s.session), "results")
	if err != nil {
		s.fatal = true
		return nil, fmt.Errorf("%q is no address of an edge: %w", s.edge.URL, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		s.fatal = true
		return nil, err
	}
	request.Header.Set("Accept", "text/event-stream")
	if s.after != FromNow {
		request.Header.Set("Last-Event-ID", s.after)
	}
	if s.edge.Token != "" {
		request.Header.Set("Authorization", "Bearer "+s.edge.Token)
	}
	client := s.edge.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no answer from the edge: %w", err)
	}
	return response, nil
}

// refused looks at an answer that holds no events. 204 says that all of the session's messages have been seen.
func (s *stream) refused(response *http.Response) error {
	if s.done = response.StatusCode == http.StatusNoContent; s.done {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem)) // what came of it says enough
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err == nil && seconds > 0 {
		s.retryAfter = time.Duration(min(seconds, int(patience/time.Second))) * time.Second
	}
	passing := response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusRequestTimeout
	s.fatal = !passing
	return problemOf(response.StatusCode, body)
}

// deliver gives an event to the loop around the iterator. Unknown fields, which a newer edge may send, are left out.
func (s *stream) deliver(event sse.Event) error {
	message := &sluicev1.ServerMessage{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(event.Data), message); err != nil {
		s.fatal = true
		return fmt.Errorf("event %q of the edge cannot be read: %w", event.LastEventID, err)
	}
	if event.LastEventID != "" { // a request that resumes knows its place before the first id
		s.after = event.LastEventID
	}
	if !s.yield(Event{ID: s.after, Message: message}, nil) || message.GetSummary() != nil {
		s.done = true
	}
	return nil
}

// watched tells of every read that gave something.
type watched struct {
	io.Reader
	alive func()
}

// Read implements io.Reader.
func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.alive()
	}
	return n, err
}
