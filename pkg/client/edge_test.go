package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	first   = "id: 1\nevent: outcome\ndata: {\"outcome\":{\"stream\":\"camera\",\"sequence\":1,\"fromTheFuture\":{\"x\":1}}}\n\n"
	skipped = "event: skipped\ndata: {\"skipped\":3}\n\n"
	second  = "id: 7\nevent: outcome\ndata: {\"outcome\":{\"stream\":\"camera\",\"sequence\":5,\"drop\":{\"reason\":\"EXPIRED\"}}}\n\n"
	summary = "id: 8\nevent: summary\ndata: {\"summary\":{\"session\":\"abc\"}}\n\n"
)

// said is how an edge answers one request.
type said struct {
	// status 0 is no answer at all.
	status int
	header map[string]string
	body   string
	// silent has the connection stand after the body without another word.
	silent bool
}

// script answers requests in turn; the last answer is given again and again. It notes what was asked.
type script struct {
	answers []said
	asked   []*http.Request
	at      []time.Duration
	begin   time.Time
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := s.answers[min(len(s.asked), len(s.answers)-1)]
	s.asked, s.at = append(s.asked, r), append(s.at, time.Since(s.begin))
	if answer.status == 0 {
		return nil, errors.New("connection refused")
	}
	response := &http.Response{StatusCode: answer.status, Header: http.Header{}, Body: &body{text: strings.NewReader(answer.body), silent: answer.silent, ctx: r.Context()}}
	for name, value := range answer.header {
		response.Header.Set(name, value)
	}
	return response, nil
}

// body gives its text and then ends, or says nothing until the request ends.
type body struct {
	text   io.Reader
	silent bool
	ctx    context.Context
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if err == nil || !b.silent {
		return n, err
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (b *body) Close() error { return nil }

func TestFollow(t *testing.T) {
	t.Parallel()
	const all = "1:outcome 1:skipped 7:outcome 8:summary"
	for _, c := range []struct {
		name    string
		answers []said
		after   string
		events  string // id:kind of each
		resumed string // the Last-Event-ID of each request
		fails   string // what the error says; empty: there is none
	}{
		{name: "a whole session", answers: []said{{status: 200, body: ": hello\nretry: 1000\n\n" + first + skipped + second + summary}}, after: FromStart, events: all, resumed: "0"},
		{name: "an edge that ends the stream after the summary only with 204", answers: []said{{status: 200, body: first}, {status: 204}}, events: "1:outcome", resumed: " 1"},
		{
			name: "a connection that breaks between two events", answers: []said{{status: 200, body: first}, {}, {status: 200, body: skipped + second + summary}},
			events: all, resumed: " 1 1",
		},
		{
			name: "a connection that breaks in an event", answers: []said{{status: 200, body: first + skipped + second[:30]}, {status: 200, body: second + summary}},
			events: all, resumed: " 1",
		},
		{name: "a connection that dies", answers: []said{{status: 200, body: first, silent: true}, {status: 200, body: summary}}, events: "1:outcome 8:summary", resumed: " 1"},
		{name: "an edge that is busy", answers: []said{{status: 503, header: map[string]string{"Retry-After": "9"}}, {status: 200, body: summary}}, events: "8:summary", resumed: " "},
		{
			name: "a session that is unknown", answers: []said{{status: 404, body: `{"code":"SESSION_NOT_FOUND","detail":"no such session"}`}}, resumed: "",
			fails: "refused with 404 SESSION_NOT_FOUND: no such session",
		},
		{name: "a proxy that refuses in its own words", answers: []said{{status: 403, body: "<h1>Go away</h1>"}}, fails: "403 UNKNOWN: <h1>Go away</h1>"},
		{
			name: "an edge of another age", answers: []said{{status: 200, header: map[string]string{"Sluice-Protocol": "2"}, body: summary}},
			fails: "the edge speaks version 2 of the protocol, this package version 1",
		},
		{name: "an edge of this age", answers: []said{{status: 200, header: map[string]string{"Sluice-Protocol": "1"}, body: summary}}, events: "8:summary"},
		{name: "an event that is no message", answers: []said{{status: 200, body: first + "id: 2\ndata: {\"outcome\":7}\n\n"}}, events: "1:outcome", fails: `event "2" of the edge cannot be read`},
		{name: "an event without end", answers: []said{{status: 200, body: "data: " + strings.Repeat("x", maxEvent+1)}}, fails: "broke off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers, begin: time.Now()}
				edge := Edge{URL: "https://edge.example/base/", Token: "secret", HTTP: &http.Client{Transport: s}}
				events, err := collect(edge.Follow(t.Context(), "a/b", c.after))
				if strings.Join(events, " ") != c.events {
					t.Errorf("got %v, want %s", events, c.events)
				}
				if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
					t.Errorf("it ended with %v, want %q", err, c.fails)
				}
				var resumed []string
				for _, r := range s.asked {
					resumed = append(resumed, r.Header.Get("Last-Event-ID"))
					if r.URL.String() != "https://edge.example/base/sessions/a%2Fb/results" || r.Header.Get("Authorization") != "Bearer secret" {
						t.Errorf("asked for %s with %v", r.URL, r.Header)
					}
				}
				if got := strings.Join(resumed, " "); got != c.resumed {
					t.Errorf("resumed after %q, want %q", got, c.resumed)
				}
			})
		})
	}
}

// collect gives what each event holds, as id:kind.
func collect(events func(func(Event, error) bool)) (all []string, err error) {
	for event, failed := range events {
		if failed != nil {
			err = failed
			continue
		}
		kind := "outcome"
		switch m := event.Message; {
		case m.GetSkipped() > 0:
			kind = "skipped"
		case m.GetSummary() != nil:
			kind = "summary"
		}
		all = append(all, event.ID+":"+kind)
	}
	return all, err
}

// An edge that asks to be left alone for a while is; one that is gone is tried less and less often, and given up after a minute.
func TestPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []said{{status: 503, header: map[string]string{"Retry-After": "9"}}, {}}, begin: time.Now()}
		edge := Edge{URL: "http://edge.example", HTTP: &http.Client{Transport: s}}
		_, err := collect(edge.Follow(t.Context(), "abc", FromNow))
		if err == nil || !strings.Contains(err.Error(), "given up after 1m0s") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("it ended with %v", err)
		}
		if s.at[1] != 9*time.Second {
			t.Errorf("the second attempt was after %v, want the 9 s that the edge asked for", s.at[1])
		}
		if n, last := len(s.at), s.at[len(s.at)-1]; n < 8 || n > 20 || last < patience || last > patience+2*longestPause {
			t.Errorf("%d attempts, the last after %v", n, last)
		}
	})
}

func TestFollowEndsWithTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []said{{status: 200, body: first + second + first, silent: true}}}
		edge := Edge{URL: "http://edge.example", HTTP: &http.Client{Transport: s}}
		for event, err := range edge.Follow(t.Context(), "abc", FromNow) {
			if err != nil || event.ID == "7" {
				break
			}
		}
		if ctx := s.asked[0].Context(); ctx.Err() == nil {
			t.Error("the request goes on after the loop")
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		s := &script{answers: []said{{status: 200, body: first, silent: true}}}
		edge := Edge{URL: "http://edge.example", HTTP: &http.Client{Transport: s}}
		events, err := collect(edge.Follow(ctx, "abc", FromNow))
		if len(events) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v and %v", events, err)
		}
	})
}

func TestFollowSaysWhichAddressIsWrong(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://[", "http://edge example"} {
		edge := Edge{URL: address}
		if _, err := collect(edge.Follow(t.Context(), "abc", FromNow)); err == nil || !strings.Contains(err.Error(), "edge") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// Whatever an edge sends, the iteration ends, and with nothing worse than an error.
func FuzzEvents(f *testing.F) {
	for _, text := range []string{first, skipped, second, summary, first + second[:30], "id: \x00\ndata: {}\n\n", "data\n\n", "\r\rdata:{}\r\r", "id: 9\ndata: {\"outcome\":7}\n\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := stream{edge: &Edge{URL: "http://edge.example", HTTP: &http.Client{Transport: &script{answers: []said{{status: 200, body: string(text)}}}}}, after: FromStart}
		events := 0
		s.yield = func(e Event, err error) bool {
			if events++; e.Message == nil || err != nil || e.ID == "" {
				t.Errorf("event %+v, %v", e, err)
			}
			return true
		}
		if err := s.run(t.Context()); err == nil && !s.done {
			t.Error("it ended without a reason")
		}
	})
}

func ExampleEdge_Follow() {
	edge := Edge{URL: "http://127.0.0.1:8080", HTTP: &http.Client{Transport: &script{answers: []said{{status: 200, body: first + skipped + second + summary}}}}}
	for event, err := range edge.Follow(context.Background(), "4fzzzxjylrx4qbxnq3vbhw3k2u", FromStart) {
		if err != nil {
			fmt.Println(err)
			return
		}
		switch m := event.Message; {
		case m.GetOutcome() != nil:
			fmt.Println(m.GetOutcome().GetStream(), m.GetOutcome().GetSequence(), m.GetOutcome().GetDrop().GetReason())
		case m.GetSkipped() > 0:
			fmt.Println("too slow for", m.GetSkipped())
		}
	}
	// Output:
	// camera 1 REASON_UNSPECIFIED
	// too slow for 3
	// camera 5 EXPIRED
}
