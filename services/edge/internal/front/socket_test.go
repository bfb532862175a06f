package front

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// patience bounds what a test waits for; nothing here takes a tenth of it.
const patience = 10 * time.Second

// dialSocket opens a WebSocket and reads its welcome.
func dialSocket(t *testing.T, server *httptest.Server, query string, options *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, server.URL+"/ws"+query, options) //nolint:bodyclose // it is the socket's
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", response.StatusCode)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func say(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// hear reads one message and gives its kind and its body.
func hear(t *testing.T, conn *websocket.Conn) (kind string, content map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, data, err := conn.Read(ctx)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	var message map[string]json.RawMessage
	if err := json.Unmarshal(data, &message); err != nil || len(message) != 1 {
		t.Fatalf("not a server message: %s", data)
	}
	for key, value := range message {
		kind = key
		_ = json.Unmarshal(value, &content) // a number, for skipped
	}
	return kind, content
}

func expect(t *testing.T, conn *websocket.Conn, kind, key string, value any) {
	t.Helper()
	got, content := hear(t, conn)
	if got != kind || content[key] != value {
		t.Fatalf("got %s %v, want %s with %s = %v", got, content, kind, key, value)
	}
}

// expectClose reads until the edge closes the socket and checks with which status.
func expectClose(t *testing.T, conn *websocket.Conn, status websocket.StatusCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		_, _, err := conn.Read(ctx)
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != status {
			t.Errorf("closed with %v (%v), want %v", got, err, status)
		}
		return
	}
}

func offerMessage(sdp string) string {
	text, err := json.Marshal(map[string]any{"offer": map[string]string{"sdp": sdp}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// socketFixture serves a front over real connections, which are all gone when the test ends.
func socketFixture(t *testing.T, change func(*Config, *fakeSessions, *fakeCatalog)) (*httptest.Server, *fakeSessions) {
	t.Helper()
	f, sessions := fixture(t, change)
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(f)
	server.Config = f.server(ctx)
	server.Start()
	t.Cleanup(func() {
		cancel()
		f.sockets.Wait()
		server.Close()
	})
	return server, sessions
}

// The life of a session on a WebSocket: welcome, ping, offer, answer, candidates both ways, results, restart, bye, summary.
func TestSocketSession(t *testing.T) {
	t.Parallel()
	server, sessions := socketFixture(t, func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) {
		cfg.ICEServers = []ICEServer{{URLs: []string{"turn:turn.example"}, Username: "u", Credential: "c"}}
	})
	conn := dialSocket(t, server, "?model=faces", nil)
	kind, welcome := hear(t, conn)
	servers, _ := welcome["iceServers"].([]any)
	if kind != "welcome" || welcome["session"] != "session1" || welcome["version"] != "v1.2.3" || len(servers) != 1 {
		t.Fatalf("the first message is %s %v", kind, welcome)
	}
	say(t, conn, `{"ping":{"id":7}}`)
	expect(t, conn, "pong", "id", 7.0)
	say(t, conn, `{"candidate":{"candidate":"early"}}`)
	expect(t, conn, "problem", "code", "NO_OFFER")
	say(t, conn, offerMessage("hello"))
	expect(t, conn, "problem", "code", "INVALID_SDP")
	say(t, conn, offerMessage("v=0 late")) // its candidates are of no use to anybody
	expect(t, conn, "problem", "code", "UNSUPPORTED_CODEC")

	say(t, conn, offerMessage(offerSDP))
	expect(t, conn, "answer", "sdp", "v=0 answer to session1")
	// The fake finds its candidates before it answers; the client gets them after.
	expect(t, conn, "candidate", "candidate", "candidate:1")
	expect(t, conn, "candidate", "candidate", "candidate:2")
	expect(t, conn, "candidate", "candidate", "")
	session := sessions.get(t, "session1")
	if !slices.Equal(sessions.created[0].Models, []string{"faces"}) {
		t.Errorf("created for the models %v", sessions.created[0].Models)
	}

	say(t, conn, `{"candidate":{"candidate":"candidate:9","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"u"}}`)
	say(t, conn, `{"candidate":{"candidate":"nonsense"}}`)
	expect(t, conn, "problem", "code", "INVALID_CANDIDATE")
	session.publish(t, 41)
	expect(t, conn, "outcome", "sequence", 41.0)

	say(t, conn, offerMessage(offerSDP+"more"))
	expect(t, conn, "problem", "code", "UNSUPPORTED_CODEC")
	say(t, conn, offerMessage(offerSDP))
	expect(t, conn, "answer", "sdp", "v=0 second answer")

	say(t, conn, `{"bye":{}}`)
	expect(t, conn, "summary", "session", "session1")
	expectClose(t, conn, websocket.StatusNormalClosure)
	if !slices.Equal(session.candidates, []string{"candidate:9"}) || session.closed != "the client said bye" {
		t.Errorf("the session got the candidates %v and ended because %q", session.candidates, session.closed)
	}
}

// The life of a session whose offers the edge makes.
func TestSocketSessionThatTheEdgeOffers(t *testing.T) {
	t.Parallel()
	server, sessions := socketFixture(t, nil)
	conn := dialSocket(t, server, "?model=faces", nil)
	if kind, welcome := hear(t, conn); kind != "welcome" || welcome["protocol"] != 1.0 {
		t.Fatalf("the first message is %s %v", kind, welcome)
	}
	say(t, conn, `{"offerRequest":{"video":2,"audio":1}}`)
	expect(t, conn, "offer", "sdp", "v=0 offer for 2 and 1")
	// Candidates come after the offer that they belong to.
	expect(t, conn, "candidate", "candidate", "candidate:1")
	expect(t, conn, "candidate", "candidate", "candidate:2")
	expect(t, conn, "candidate", "candidate", "")
	say(t, conn, `{"offerRequest":{"video":2}}`)
	expect(t, conn, "problem", "code", "NOT_DUE")
	say(t, conn, `{"answer":{"sdp":"v=0 first"}}`)
	say(t, conn, `{"answer":{"sdp":"v=0 again"}}`)
	expect(t, conn, "problem", "code", "NOT_DUE")
	session := sessions.get(t, "session1")
	session.publish(t, 41)
	expect(t, conn, "outcome", "sequence", 41.0)
	say(t, conn, `{"offerRequest":{"video":2,"restart":true}}`)
	expect(t, conn, "offer", "sdp", "v=0 offer for 2 and 0, true")
	say(t, conn, `{"answer":{"sdp":"v=0 second"}}`)
	say(t, conn, `{"bye":{}}`)
	expect(t, conn, "summary", "session", "session1")
	expectClose(t, conn, websocket.StatusNormalClosure)
	if !slices.Equal(session.answers, []string{"v=0 first", "v=0 second"}) || !slices.Equal(sessions.created[0].Models, []string{"faces"}) {
		t.Errorf("the session got the answers %q", session.answers)
	}
}

func TestSocketBadMessages(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		messages []string
		binary   bool
		problem  Code                 // of the last message, with the socket going on
		status   websocket.StatusCode // of the close, if it closes
	}{
		"not JSON":              {messages: []string{"offer"}, problem: codeInvalidMessage},
		"nothing":               {messages: []string{""}, problem: codeInvalidMessage},
		"a list":                {messages: []string{"[]"}, problem: codeInvalidMessage},
		"no body":               {messages: []string{"{}"}, problem: codeInvalidMessage},
		"unknown field":         {messages: []string{`{"offer":{"sdp":"v=0","type":"offer"}}`}, problem: codeInvalidMessage},
		"two bodies":            {messages: []string{`{"bye":{},"offer":{"sdp":"v=0"}}`}, problem: codeInvalidMessage},
		"a server message":      {messages: []string{`{"outcome":{}}`}, problem: codeInvalidMessage},
		"an answer to nothing":  {messages: []string{`{"answer":{"sdp":"v=0"}}`}, problem: codeNoOffer},
		"an answer without SDP": {messages: []string{`{"answer":{}}`}, problem: codeInvalidMessage},
		"too many tracks":       {messages: []string{`{"offerRequest":{"video":9}}`}, problem: codeInvalidMessage},
		"an offer without SDP":  {messages: []string{`{"offer":{}}`}, problem: codeInvalidMessage},
		"SDP beyond 64 KiB":     {messages: []string{offerMessage(strings.Repeat("v", maxOffer+1))}, problem: codeInvalidMessage},
		"an endless candidate":  {messages: []string{`{"candidate":{"candidate":"` + strings.Repeat("c", 1025) + `"}}`}, problem: codeInvalidMessage},
		"deep nesting":          {messages: []string{strings.Repeat(`{"offer":`, 5000)}, problem: codeInvalidMessage},
		"unknown model's offer": {messages: []string{offerMessage("v=0 defect")}, problem: codeInternal},
		"beyond 80 KiB":         {messages: []string{strings.Repeat(" ", maxMessage+1)}, status: websocket.StatusMessageTooBig},
		"not UTF-8":             {messages: []string{"{\"offer\":{\"sdp\":\"v=0\xff\"}}"}, status: websocket.StatusInvalidFramePayloadData},
		"binary":                {messages: []string{`{"bye":{}}`}, binary: true, status: websocket.StatusUnsupportedData},
		"too many":              {messages: slices.Repeat([]string{"x"}, messageBurst/badMessageCost+10), status: websocket.StatusPolicyViolation},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := socketFixture(t, nil)
			conn := dialSocket(t, server, "", nil)
			hear(t, conn)
			kind := websocket.MessageText
			if tc.binary {
				kind = websocket.MessageBinary
			}
			for _, message := range tc.messages {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				err := conn.Write(ctx, kind, []byte(message))
				cancel()
				if err != nil {
					break // the edge has closed already
				}
			}
			if tc.status != 0 {
				expectClose(t, conn, tc.status)
				return
			}
			expect(t, conn, "problem", "code", string(tc.problem))
			say(t, conn, offerMessage(offerSDP))
			expect(t, conn, "answer", "sdp", "v=0 answer to session1")
		})
	}
}

func TestSocketRefusedOffers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Config, *fakeSessions, *fakeCatalog)
		query  string
		code   Code
	}{
		"full":          {change: func(_ *Config, s *fakeSessions, _ *fakeCatalog) { s.capacity = 0 }, code: "TOO_MANY_SESSIONS"},
		"no router":     {change: func(_ *Config, s *fakeSessions, _ *fakeCatalog) { s.routerless = true }, code: codeNoRouter},
		"unknown model": {query: "?model=nobody", code: "UNKNOWN_MODEL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := socketFixture(t, tc.change)
			conn := dialSocket(t, server, tc.query, nil)
			hear(t, conn)
			say(t, conn, offerMessage(offerSDP))
			expect(t, conn, "problem", "code", string(tc.code))
			say(t, conn, `{"bye":{}}`)
			expectClose(t, conn, websocket.StatusNormalClosure)
		})
	}
}

// A session that ends by itself takes its socket along, and the summary comes before.
func TestSocketEndsWithItsSession(t *testing.T) {
	t.Parallel()
	server, sessions := socketFixture(t, nil)
	conn := dialSocket(t, server, "", nil)
	startSession(t, conn)
	sessions.get(t, "session1").Close("it failed")
	expect(t, conn, "summary", "session", "session1")
	expectClose(t, conn, websocket.StatusNormalClosure)
}

// A client that goes away without a word takes its session along.
func TestSocketTakesItsSessionAlong(t *testing.T) {
	t.Parallel()
	f, sessions := fixture(t, nil)
	server := httptest.NewServer(f)
	defer server.Close()
	conn := dialSocket(t, server, "", nil)
	startSession(t, conn)
	session := sessions.get(t, "session1")
	if err := conn.CloseNow(); err != nil && !errors.Is(err, context.Canceled) {
		t.Log(err)
	}
	f.sockets.Wait()
	if session.closed != "its WebSocket closed" {
		t.Errorf("the session ended because %q", session.closed)
	}
	if len(f.connections) != 0 {
		t.Error("the socket's place was not given back")
	}
}

func TestSocketStopsWithTheEdge(t *testing.T) {
	t.Parallel()
	f, sessions := fixture(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(f)
	server.Config = f.server(ctx)
	server.Start()
	defer server.Close()
	conn := dialSocket(t, server, "", nil)
	startSession(t, conn)
	session := sessions.get(t, "session1")
	cancel()
	expectClose(t, conn, websocket.StatusGoingAway)
	f.sockets.Wait()
	if session.closed == "" {
		t.Error("the session goes on without its socket")
	}
}

func startSession(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	hear(t, conn)
	say(t, conn, offerMessage(offerSDP))
	expect(t, conn, "answer", "sdp", "v=0 answer to session1")
	for range 3 {
		hear(t, conn) // the candidates
	}
}
