package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
)

// pipes is a listener whose connections live in memory, so that they work under testing/synctest.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

func newPipes() *pipes { return &pipes{connections: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.connections <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// inMemory serves a front inside a synctest bubble and gives a client of it. stop ends the server and says how.
func inMemory(t *testing.T, f *Front) (client *http.Client, stop func() error) {
	t.Helper()
	dial, stopServer := servePipes(f, nil)
	client, closeIdle := clientOver(dial)
	return client, func() error {
		err := stopServer()
		closeIdle()
		return err
	}
}

// inMemoryHTTP2 is inMemory with HTTP/2, and so TLS. Its addresses begin with https.
func inMemoryHTTP2(t *testing.T, f *Front) (client *http.Client, stop func() error) {
	t.Helper()
	// Tickets are written while the client writes too, and a pipe holds neither.
	dial, stopServer := servePipes(f, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} // self-signed
	return &http.Client{Transport: transport}, func() error {
		err := stopServer()
		transport.CloseIdleConnections()
		return err
	}
}

// servePipes serves a front over connections that dial makes, until stop is called, which says how it ended.
func servePipes(f *Front, secure *tls.Config) (dial func(context.Context, string, string) (net.Conn, error), stop func() error) {
	listener := newPipes()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, listener, secure) }()
	return listener.dial, func() error {
		cancel()
		return <-done
	}
}

// clientOver makes a client whose connections dial opens.
func clientOver(dial func(context.Context, string, string) (net.Conn, error)) (client *http.Client, closeIdle func()) {
	transport := &http.Transport{DialContext: dial}
	return &http.Client{Transport: transport}, transport.CloseIdleConnections
}

// openResults asks for a session's results and skips the retry field.
func openResults(t *testing.T, client *http.Client, id, last string) (events *bufio.Reader, hangUp func()) {
	t.Helper()
	return openResultsAt(t, client, "http://edge.example", id, last)
}

func openResultsAt(t *testing.T, client *http.Client, base, id, last string) (events *bufio.Reader, hangUp func()) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, base+"/sessions/"+id+"/results", nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	response, err := client.Do(req) //nolint:bodyclose // hangUp closes it
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	events = bufio.NewReader(response.Body)
	expectBlock(t, events, "retry: 1000")
	return events, func() { _ = response.Body.Close() }
}

// block reads up to the next empty line.
func block(t *testing.T, events *bufio.Reader) string {
	t.Helper()
	var lines []string
	for {
		line, err := events.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v, after %q", err, lines)
		}
		if line == "\n" {
			return strings.Join(lines, "\n")
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

func expectBlock(t *testing.T, events *bufio.Reader, want string) {
	t.Helper()
	if got := block(t, events); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func outcomeBlock(id, sequence int) string {
	return fmt.Sprintf("id: %d\nevent: outcome\ndata: {\"outcome\":{\"sequence\":%d}}", id, sequence)
}

// running starts a session without a client.
func running(t *testing.T, sessions *fakeSessions) *fakeSession {
	t.Helper()
	session, _, err := sessions.Create(context.Background(), Offer{ID: sessions.NewID(), SDP: offerSDP})
	if err != nil {
		t.Fatal(err)
	}
	return session.(*fakeSession)
}

func TestResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		client, stop := inMemory(t, f)
		session := running(t, sessions)
		session.publish(t, 1) // before anybody follows

		events, hangUp := openResults(t, client, session.id, "")
		session.publish(t, 2)
		session.publish(t, 3)
		expectBlock(t, events, outcomeBlock(2, 2))
		expectBlock(t, events, outcomeBlock(3, 3))
		hangUp()

		resumed, hangUp := openResults(t, client, session.id, "2")
		expectBlock(t, resumed, outcomeBlock(3, 3))
		session.publish(t, 4)
		expectBlock(t, resumed, outcomeBlock(4, 4))

		whole, hangUpWhole := openResults(t, client, session.id, "0")
		for i := range 4 {
			expectBlock(t, whole, outcomeBlock(i+1, i+1))
		}
		session.Close("test")
		for _, events := range []*bufio.Reader{resumed, whole} {
			expectBlock(t, events, "id: 5\nevent: summary\ndata: {\"summary\":{\"session\":\"session1\"}}")
			if rest, err := events.ReadString('\n'); err == nil || rest != "" {
				t.Errorf("after the summary came %q, %v", rest, err)
			}
		}
		hangUp()
		hangUpWhole()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(f.connections) != 0 {
			t.Errorf("%d places were not given back", len(f.connections))
		}
	})
}

// An EventSource comes back a second after the end of its stream. Once it has the summary it is told to stay away.
func TestResultsOfAnEndedSession(t *testing.T) {
	t.Parallel()
	f, sessions := fixture(t, nil)
	session := running(t, sessions)
	session.publish(t, 1)
	session.publish(t, 2)
	session.end()
	const summary = "id: 3\nevent: summary\ndata: {\"summary\":{\"session\":\"session1\"}}\n\n"
	for last, want := range map[string]struct {
		status int
		body   string
	}{
		"":   {http.StatusOK, "retry: 1000\n\n" + outcomeBlock(1, 1) + "\n\n" + outcomeBlock(2, 2) + "\n\n" + summary},
		"2":  {http.StatusOK, "retry: 1000\n\n" + summary},
		"3":  {http.StatusNoContent, ""},
		"99": {http.StatusNoContent, ""},
	} {
		got := request{method: http.MethodGet, path: "/sessions/session1/results", header: map[string]string{"Last-Event-ID": last}}.do(t, f)
		if body := bodyOf(t, got); got.StatusCode != want.status || body != want.body {
			t.Errorf("after %q: %d with %q, want %d with %q", last, got.StatusCode, body, want.status, want.body)
		}
	}
	if len(f.connections) != 0 {
		t.Errorf("%d places were not given back", len(f.connections))
	}
}

// What a reader that comes back too late has missed is said, not hidden.
func TestResultsSkipped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		client, stop := inMemory(t, f)
		session := running(t, sessions)
		for i := range uint32(2000) {
			session.publish(t, i+1)
		}
		events, hangUp := openResults(t, client, session.id, "1")
		first := block(t, events)
		var skipped int
		if n, err := fmt.Sscanf(first, "event: skipped\ndata: {\"skipped\":%d}", &skipped); n != 1 || err != nil {
			t.Fatalf("the first event is %q", first)
		}
		expectBlock(t, events, outcomeBlock(skipped+2, skipped+2))
		hangUp()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A silent stream gets a comment every 15 s, whatever the server's other deadlines are, and so does a busy one.
func TestResultsComments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		client, stop := inMemory(t, f)
		session := running(t, sessions)
		events, hangUp := openResults(t, client, session.id, "")
		start := time.Now()
		for i := range 5 {
			expectBlock(t, events, ": still here")
			if got, want := time.Since(start), time.Duration(i+1)*commentEvery; got != want {
				t.Errorf("comment %d came after %v, want %v", i+1, got, want)
			}
		}
		comments := 0
		for i := range 40 {
			<-time.After(time.Second) // a bubble's clock
			session.publish(t, uint32(i+1))
			if strings.HasPrefix(block(t, events), ":") {
				comments++
				block(t, events)
			}
		}
		if comments != 2 {
			t.Errorf("%d comments in 40 s of results, want 2", comments)
		}
		hangUp()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Over HTTP/2 a deadline ends a stream while nothing is written: a silent one must have none.
func TestResultsSilentOverHTTP2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		client, stop := inMemoryHTTP2(t, f)
		session := running(t, sessions)
		events, hangUp := openResultsAt(t, client, "https://edge.example", session.id, "")
		for range 3 {
			expectBlock(t, events, ": still here")
		}
		session.publish(t, 1)
		expectBlock(t, events, outcomeBlock(1, 1))
		expectBlock(t, events, ": still here")
		hangUp()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A client that takes nothing is cut off; the session does not notice.
func TestResultsStalledClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		client, stop := inMemory(t, f)
		session := running(t, sessions)
		_, hangUp := openResults(t, client, session.id, "")
		// A pipe holds nothing, but the client's transport reads ahead: enough that it is full.
		for i := range uint32(3000) {
			session.publish(t, i+1)
		}
		<-time.After(eventTimeout + time.Second)
		synctest.Wait()
		if len(f.connections) != 0 {
			t.Error("the stalled client still has its place")
		}
		hangUp()
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestResultsEndWithTheEdge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, sessions := fixture(t, nil)
		client, stop := inMemory(t, f)
		session := running(t, sessions)
		events, hangUp := openResults(t, client, session.id, "")
		start, stopped := time.Now(), make(chan error, 1)
		go func() { stopped <- stop() }()
		if _, err := events.ReadByte(); err == nil {
			t.Error("the stream goes on")
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took >= stopTimeout {
			t.Errorf("the edge waited %v for a stream that does not end by itself", took)
		}
		hangUp()
	})
}

func TestResultsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(*Config, *fakeSessions, *fakeCatalog)
		request request
		status  int
		code    Code
	}{
		"unknown session": {request: request{path: "/sessions/nobody/results"}, status: http.StatusNotFound, code: codeSessionNotFound},
		"a secret":        {request: request{path: "/sessions/SECRETsession1/results"}, status: http.StatusNotFound, code: codeSessionNotFound},
		"bad last id":     {request: request{path: "/sessions/session1/results", header: map[string]string{"Last-Event-ID": "-1"}}, status: http.StatusBadRequest, code: codeInvalidRequest},
		"reserved last id": {
			request: request{path: "/sessions/session1/results", header: map[string]string{"Last-Event-ID": fmt.Sprint(downlink.Live)}},
			status:  http.StatusBadRequest, code: codeInvalidRequest,
		},
		"no token":       {change: withTokens, request: request{path: "/sessions/session1/results"}, status: http.StatusUnauthorized, code: codeUnauthorized},
		"foreign origin": {request: request{path: "/sessions/session1/results", header: map[string]string{"Origin": "null"}}, status: http.StatusForbidden, code: codeOriginNotAllowed},
		"no place left":  {change: func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.Connections = 0 }, request: request{path: "/sessions/session1/results"}, status: http.StatusServiceUnavailable, code: codeTooManyConnections},
		"POST":           {request: request{method: http.MethodPost, path: "/sessions/session1/results"}, status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, sessions := fixture(t, tc.change)
			running(t, sessions)
			if tc.request.method == "" {
				tc.request.method = http.MethodGet
			}
			checkProblem(t, tc.request.do(t, f), tc.status, tc.code)
		})
	}
}
