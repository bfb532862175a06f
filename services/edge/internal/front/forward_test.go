package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluice-dev/sluice/services/edge/internal/cluster"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

// neighbours is a cluster whose members a test adds.
type neighbours struct {
	name    string
	members map[string]*url.URL
}

func (n *neighbours) Name() string { return n.name }

func (n *neighbours) Find(_ context.Context, name string) (*url.URL, error) {
	if member, ok := n.members[name]; ok {
		return member, nil
	}
	return nil, cluster.ErrNotAMember
}

// several are two edges, "edge-a" and "edge-b", that know each other.
type several struct {
	front    [2]*Front
	sessions [2]*fakeSessions
	server   [2]*httptest.Server
	known    [2]*neighbours
}

func newSeveral(t *testing.T, change func(*Config)) *several {
	t.Helper()
	s := &several{}
	for i, name := range []string{"edge-a", "edge-b"} {
		s.known[i] = &neighbours{name: name, members: map[string]*url.URL{}}
		s.front[i], s.sessions[i] = fixture(t, func(cfg *Config, sessions *fakeSessions, _ *fakeCatalog) {
			cfg.Cluster, sessions.edge = s.known[i], name
			if change != nil {
				change(cfg)
			}
		})
		s.server[i] = httptest.NewServer(s.front[i])
		t.Cleanup(s.server[i].Close)
	}
	for i := range s.known {
		s.known[i].members[s.known[1-i].name] = s.at(t, 1-i)
	}
	return s
}

func (s *several) at(t *testing.T, i int) *url.URL {
	t.Helper()
	u, err := url.Parse(s.server[i].URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// ask makes a request to one of the edges, as a client that knows both by one address. The answer's body is closed with the test.
func (s *several) ask(t *testing.T, i int, r request) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, s.server[i].URL+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "edge.example:8080"
	if r.method == http.MethodPost {
		req.Header.Set("Content-Type", sdpType)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return answer{response}
}

// publish makes a session at the second edge and gives its resource's path.
func (s *several) publish(t *testing.T, header map[string]string) string {
	t.Helper()
	response := s.ask(t, 1, request{method: http.MethodPost, path: "/whip", body: offerSDP, header: header})
	location, err := response.Location()
	if err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	if !strings.HasPrefix(location.Path, "/whip/edge-b-SECRETsession1") || location.Host != "edge.example:8080" {
		t.Fatalf("the session is at %s: want the edge's name in the path, behind the common address", location)
	}
	if link := response.Header.Get("Link"); !strings.Contains(link, "/sessions/edge-b-session1/results>") {
		t.Errorf("its results are at %s", link)
	}
	return location.Path
}

// finish reads all that an edge answered.
func finish(t *testing.T, response answer) (int, string) {
	t.Helper()
	return response.StatusCode, bodyOf(t, response)
}

const restartFragment = "a=ice-ufrag:second\r\na=ice-pwd:0123456789012345678901\r\n"

// What comes to the edge that has not got the session is answered by the one that has.
func TestForward(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, nil)
	path := s.publish(t, nil)
	patch := request{method: http.MethodPatch, path: path, body: restartFragment, header: map[string]string{"Content-Type": sdpfrag.Type, "If-Match": "*"}}
	response := s.ask(t, 0, patch)
	if status, body := finish(t, response); status != http.StatusOK || response.Header.Get("ETag") != `"ice2"` || !strings.Contains(body, "a=ice-ufrag:ice2") {
		t.Errorf("PATCH: status %d, ETag %s, %s", status, response.Header.Get("ETag"), body)
	}
	for name, want := range map[string]string{"Sluice-Protocol": "1", "Vary": "Origin", "X-Content-Type-Options": "nosniff"} {
		if got := response.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q once", name, got, want)
		}
	}
	stale := patch
	stale.header = map[string]string{"Content-Type": sdpfrag.Type, "If-Match": `"ice1"`}
	if status, body := finish(t, s.ask(t, 0, stale)); status != http.StatusPreconditionFailed || !strings.Contains(body, string(codePreconditionFailed)) {
		t.Errorf("a problem of the other edge came as %d %s", status, body)
	}
	for _, step := range []struct {
		method string
		status int
	}{{http.MethodGet, 204}, {http.MethodHead, 204}, {http.MethodOptions, 204}, {http.MethodPut, 405}, {http.MethodDelete, 200}, {http.MethodDelete, 404}} {
		if status, body := finish(t, s.ask(t, 0, request{method: step.method, path: path})); status != step.status {
			t.Errorf("%s: status %d, want %d: %s", step.method, status, step.status, body)
		}
	}
	if n := testutil.ToFloat64(s.front[0].forwarder.handed.WithLabelValues("/whip/{secret}", "answered")); n != 6 {
		t.Errorf("%g requests were handed on, want 6", n)
	}
}

// Events come through the other edge one by one, resume there, and end with the session.
func TestForwardEvents(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, nil)
	path := s.publish(t, nil)
	session := s.sessions[1].get(t, "edge-b-session1")
	results := request{method: http.MethodGet, path: "/sessions/edge-b-session1/results"}
	response := s.ask(t, 0, results)
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("status %d, type %s", response.StatusCode, kind)
	}
	events := bufio.NewReader(response.Body)
	expectBlock(t, events, "retry: 1000")
	for n := 1; n <= 3; n++ { // each is read before the next one is made
		session.publish(t, uint32(n))
		expectBlock(t, events, outcomeBlock(n, n))
	}
	results.header = map[string]string{"Last-Event-ID": "2"}
	again := s.ask(t, 0, results)
	resumed := bufio.NewReader(again.Body)
	expectBlock(t, resumed, "retry: 1000")
	expectBlock(t, resumed, outcomeBlock(3, 3))
	if status, _ := finish(t, s.ask(t, 0, request{method: http.MethodDelete, path: path})); status != http.StatusOK {
		t.Errorf("DELETE: status %d", status)
	}
	rest, err := io.ReadAll(events)
	if err != nil || !strings.Contains(string(rest), "event: summary") {
		t.Errorf("after the session's end came %q, %v", rest, err)
	}
}

// A stream that comes through the other edge stays while the session is silent, over HTTP/2 too.
func TestForwardSilentEventsOverHTTP2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		owning, sessions := fixture(t, func(_ *Config, sessions *fakeSessions, _ *fakeCatalog) { sessions.edge = "edge-b" })
		dial, stopOwning := servePipes(owning, nil)
		asked, _ := fixture(t, func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) {
			cfg.Cluster = &neighbours{name: "edge-a", members: map[string]*url.URL{"edge-b": {Scheme: "http", Host: "edge-b"}}}
		})
		asked.forwarder.transport.DialContext = dial
		client, stop := inMemoryHTTP2(t, asked)
		session := running(t, sessions)
		events, hangUp := openResultsAt(t, client, "https://edge.example", session.id, "")
		for range 3 {
			expectBlock(t, events, ": still here")
		}
		session.publish(t, 1)
		expectBlock(t, events, outcomeBlock(1, 1))
		hangUp()
		if err := errors.Join(stop(), stopOwning()); err != nil {
			t.Error(err)
		}
	})
}

// The token is shown at both edges: one without is refused at the first, another client's at the second.
func TestForwardWithTokens(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, func(cfg *Config) { cfg.Tokens = []string{tokenA, tokenB} })
	bearer := func(token string) map[string]string { return map[string]string{"Authorization": "Bearer " + token} }
	path := s.publish(t, bearer(tokenA))
	for _, step := range []struct {
		header map[string]string
		status int
		handed float64
	}{{nil, 401, 0}, {bearer("a token of nobody"), 401, 0}, {bearer(tokenB), 404, 1}, {bearer(tokenA), 200, 2}} {
		if status, body := finish(t, s.ask(t, 0, request{method: http.MethodDelete, path: path, header: step.header})); status != step.status {
			t.Errorf("%v: status %d, want %d: %s", step.header, status, step.status, body)
		}
		if n := testutil.ToFloat64(s.front[0].forwarder.handed.WithLabelValues("/whip/{secret}", "answered")); n != step.handed {
			t.Errorf("%v: %g requests were handed on, want %g", step.header, n, step.handed)
		}
	}
}

// A page's origin is judged where its request comes in.
func TestForwardAcrossOrigins(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, nil)
	path := s.publish(t, nil)
	get := func(origin string) answer {
		return s.ask(t, 0, request{method: http.MethodGet, path: path, header: map[string]string{"Origin": origin}})
	}
	if response := get("https://stranger.example"); response.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page got %d", response.StatusCode)
	}
	response := get(friend)
	if allowed := response.Header.Values("Access-Control-Allow-Origin"); response.StatusCode != http.StatusNoContent || len(allowed) != 1 || allowed[0] != friend {
		t.Errorf("a friend's page got %d, allowed %q", response.StatusCode, allowed)
	}
}

// What a client is told before the answer, that it may send its body, takes nothing from the answer.
func TestForwardExpectations(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, nil)
	response := s.ask(t, 0, request{method: http.MethodPatch, path: s.publish(t, nil), body: restartFragment, header: map[string]string{
		"Content-Type": sdpfrag.Type, "If-Match": "*", "Origin": friend, "Expect": "100-continue",
	}})
	if status, body := finish(t, response); status != http.StatusOK || response.Header.Get("Access-Control-Allow-Origin") != friend || response.Header.Get(protocolHeader) != "1" {
		t.Errorf("status %d, headers %v, %s", status, response.Header, body)
	}
}

// A GET that announces a body, which nobody wants, and does not send it, holds its place for no longer than any other request may.
func TestForwardWithoutTheBody(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, nil)
	hurried := httptest.NewUnstartedServer(s.front[0])
	hurried.Config.ReadTimeout = 50 * time.Millisecond
	hurried.Start()
	defer hurried.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", hurried.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /whip/edge-b-SECRETnobody HTTP/1.1\r\nHost: edge.example\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if status, body := finish(t, answer{response}); status != http.StatusNotFound {
		t.Errorf("status %d: %s", status, body)
	}
}

// Requests that no other edge can answer.
func TestForwardRefuses(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, func(cfg *Config) { cfg.Connections = 64 })
	gone := httptest.NewServer(http.NotFoundHandler())
	s.known[0].members["edge-gone"], _ = url.Parse(gone.URL)
	gone.Close()
	// Each takes the other for edge-c: the request must not go round.
	s.known[0].members["edge-c"], s.known[1].members["edge-c"] = s.at(t, 1), s.at(t, 0)
	path := s.publish(t, nil)
	fragment := map[string]string{"Content-Type": sdpfrag.Type}
	for name, tc := range map[string]struct {
		request
		status int
		code   Code
	}{
		"no member":          {request{method: http.MethodDelete, path: "/whip/edge-x-SECRETsession1"}, 404, codeSessionNotFound},
		"no member, results": {request{method: http.MethodGet, path: "/sessions/edge-x-session1/results"}, 404, codeSessionNotFound},
		"no name":            {request{method: http.MethodDelete, path: "/whip/-SECRETsession1"}, 404, codeSessionNotFound},
		"nothing but a name": {request{method: http.MethodDelete, path: "/whip/edge-b-"}, 404, codeSessionNotFound},
		"a host":             {request{method: http.MethodDelete, path: "/whip/127.0.0.1:80%2F-SECRETsession1"}, 404, codeSessionNotFound},
		"gone":               {request{method: http.MethodDelete, path: "/whip/edge-gone-SECRETsession1"}, 502, codeEdgeUnreachable},
		"round":              {request{method: http.MethodDelete, path: "/whip/edge-c-SECRETsession1"}, 404, codeSessionNotFound},
		"handed on before":   {request{method: http.MethodDelete, path: path, header: map[string]string{forwardedHeader: "edge-z"}}, 404, codeSessionNotFound},
		"too large":          {request{method: http.MethodPatch, path: path, header: fragment, body: strings.Repeat("a", maxOffer+1)}, 413, codeBodyTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			checkProblem(t, s.ask(t, 0, tc.request), tc.status, tc.code)
		})
	}
	for len(s.front[0].connections) > 0 { // A place is given back a moment after the answer.
		runtime.Gosched()
	}
	for range cap(s.front[0].connections) {
		if _, err := s.front[0].admit(); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := finish(t, s.ask(t, 0, request{method: http.MethodDelete, path: path})); status != 503 || !strings.Contains(body, string(codeTooManyConnections)) {
		t.Errorf("with all connections taken: %d %s", status, body)
	}
	if n := testutil.ToFloat64(s.front[1].forwarder.handed.WithLabelValues("/whip/{secret}", "answered")); n != 0 {
		t.Errorf("the second edge handed %g requests on", n)
	}
}

// What an edge has itself it answers itself, whoever sends it; and an edge alone takes no name in a word for another edge's.
func TestForwardNothing(t *testing.T) {
	t.Parallel()
	s := newSeveral(t, nil)
	path := s.publish(t, nil)
	if status, body := finish(t, s.ask(t, 1, request{method: http.MethodDelete, path: path, header: map[string]string{forwardedHeader: "edge-a"}})); status != http.StatusOK {
		t.Errorf("status %d: %s", status, body)
	}
	alone, _ := fixture(t, nil)
	checkProblem(t, request{method: http.MethodDelete, path: "/whip/edge-b-SECRETsession1"}.do(t, alone), 404, codeSessionNotFound)
}

// A draining edge closes the connection too: the next attempt on it would come to the same edge.
func TestDrainingClosesTheConnection(t *testing.T) {
	t.Parallel()
	for code, want := range map[Code]string{codeDraining: "close", codeNoRouter: ""} {
		recorder := httptest.NewRecorder()
		writeProblem(recorder, refuse(http.StatusServiceUnavailable, code, "no"))
		if got := recorder.Header().Get("Connection"); got != want {
			t.Errorf("%s: Connection %q, want %q", code, got, want)
		}
	}
}
