package front

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
)

const (
	// commentEvery is the time between the comments that keep proxies from closing a silent stream.
	commentEvery = 15 * time.Second
	// eventTimeout bounds the sending of one event: a client that takes nothing for so long is gone.
	eventTimeout = 10 * time.Second
	// reconnectAfter is what EventSource clients are told to wait before they resume.
	reconnectAfter = time.Second
)

// results streams a session's messages as Server-Sent Events until the session ends. Last-Event-ID resumes within what is kept; the gap, if
// there is one, is told by a skipped event. A reader that has seen the last message of a session that ended gets 204, at which an
// EventSource stops coming back (HTML Standard section 9.2.3); one that comes to it for the first time gets what is kept.
func (f *Front) results(w http.ResponseWriter, r *http.Request, _ principal) error {
	after, err := lastEventID(r.Header)
	if err != nil {
		return err
	}
	session, ok := f.sessions.ByID(r.PathValue("session"))
	if !ok {
		return refuse(http.StatusNotFound, codeSessionNotFound, "no such session; it may have ended")
	}
	release, err := f.admit()
	if err != nil {
		return err
	}
	defer release()
	sink, err := subscribe(session, after)
	if err == nil && after == downlink.Live && sink.Ended() {
		sink.Close()
		sink, err = subscribe(session, 0)
	}
	if err != nil {
		return err
	}
	defer sink.Close()
	if sink.Ended() {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	stream := eventStream{control: http.NewResponseController(w), w: w}
	if stream.begin() == nil {
		stream.follow(r.Context(), sink)
	}
	_ = takeUntil(stream.control, time.Now().Add(eventTimeout)) // for the answer's end, which net/http writes; a client that is gone needs none
	return nil
}

// subscribe opens a sink and says so when a session has too many.
func subscribe(session Session, after uint64) (*downlink.Sink, error) {
	sink, err := session.Subscribe(after)
	if errors.Is(err, downlink.ErrTooManySinks) {
		problem := refuse(http.StatusServiceUnavailable, codeTooManyConnections, "too many readers follow this session")
		problem.RetryAfter = retryLater
		return nil, problem
	}
	return sink, err
}

// lastEventID gives the id after which to resume, downlink.Live where the client names none.
func lastEventID(h http.Header) (uint64, error) {
	text := h.Get("Last-Event-ID")
	if text == "" {
		return downlink.Live, nil
	}
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == downlink.Live {
		return 0, refuse(http.StatusBadRequest, codeInvalidRequest, "Last-Event-ID must be an id that this stream sent")
	}
	return id, nil
}

// eventStream writes the event-stream format (HTML Standard section 9.2).
type eventStream struct {
	control *http.ResponseController
	w       io.Writer
	buffer  bytes.Buffer
}

func (s *eventStream) begin() error {
	// The request is read; its deadline would end the stream.
	if err := s.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	s.buffer.WriteString("retry: ")
	s.buffer.WriteString(strconv.FormatInt(reconnectAfter.Milliseconds(), 10))
	s.buffer.WriteString("\n\n")
	return s.send()
}

// follow sends the sink's messages, and a comment every 15 s, until either side ends.
func (s *eventStream) follow(ctx context.Context, sink *downlink.Sink) {
	comment := time.Now().Add(commentEvery)
	for {
		wait, cancel := context.WithDeadline(ctx, comment)
		message, err := sink.Next(wait)
		cancel()
		switch {
		case err == nil:
			s.event(message)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return
		}
		if now := time.Now(); !now.Before(comment) {
			s.buffer.WriteString(": still here\n\n")
			comment = now.Add(commentEvery)
		}
		if s.send() != nil {
			return // the client is gone
		}
		message.Delivered("event stream")
	}
}

// event writes one event. Protobuf's JSON is one line, so one data field holds it.
func (s *eventStream) event(message downlink.Message) {
	if message.ID != 0 {
		s.buffer.WriteString("id: ")
		s.buffer.WriteString(strconv.FormatUint(message.ID, 10))
		s.buffer.WriteByte('\n')
	}
	s.buffer.WriteString("event: ")
	s.buffer.WriteString(string(message.Kind))
	s.buffer.WriteString("\ndata: ")
	s.buffer.Write(message.JSON)
	s.buffer.WriteString("\n\n")
}

// send flushes what was written since the last time.
func (s *eventStream) send() error {
	if s.buffer.Len() == 0 {
		return nil
	}
	if err := takeUntil(s.control, time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	if _, err := s.buffer.WriteTo(s.w); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	return takeUntil(s.control, time.Time{})
}

// takeUntil sets when a client has to have taken what is written from here on; zero for never. A stream has none between its events: over HTTP/2 one that passes ends the stream,
// even while nothing is being written.
func takeUntil(control *http.ResponseController, at time.Time) error {
	if err := control.SetWriteDeadline(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
