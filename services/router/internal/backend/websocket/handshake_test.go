package websocket_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]websocket.Config{
		"no address":             {Model: "model"},
		"another scheme":         {URL: "http://ml.example/infer", Model: "model"},
		"no host":                {URL: "ws:///infer", Model: "model"},
		"an address of no form":  {URL: "ws://\x7f", Model: "model"},
		"a user":                 {URL: "wss://me:secret@ml.example/infer", Model: "model"},
		"a fragment":             {URL: "wss://ml.example/infer#part", Model: "model"},
		"no model":               {URL: "wss://ml.example/infer"},
		"a negative answer size": {URL: "wss://ml.example/infer", Model: "model", MaxReply: -1},
	} {
		driver, err := websocket.Open(config)
		if err == nil {
			_ = driver.Close()
			t.Errorf("%s: Open succeeded", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}

// TestHandshakes meets servers that do not let the router in, or are no servers of models.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat(secret, 100), code) }
	}
	upgrade := func(protocols ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			socket, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: protocols})
			if err == nil {
				_, _, _ = socket.Read(r.Context())
				_ = socket.CloseNow()
			}
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    media.ErrorCode
		says    string
	}{
		"a web page": {status(http.StatusOK), media.BackendRejected, "status 200"},
		"a page elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "ws://127.0.0.1:1/", http.StatusFound)
		}, media.BackendRejected, "status 302"},
		"no entrance":          {status(http.StatusUnauthorized), media.BackendRejected, "status 401"},
		"no such path":         {status(http.StatusNotFound), media.BackendRejected, "status 404"},
		"not now":              {status(http.StatusServiceUnavailable), media.BackendUnavailable, "status 503"},
		"no subprotocol":       {upgrade(), media.BackendProtocol, "did not choose the WebSocket subprotocol sluice.infer.v1"},
		"another subprotocol":  {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "Sec-WebSocket-Protocol: mqtt\r\n") }, media.BackendProtocol, "sluice.infer.v1"},
		"another's handshake":  {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "Sec-WebSocket-Accept: x\r\n") }, media.BackendProtocol, "handshake"},
		"an upgrade to nobody": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSwitchingProtocols) }, media.BackendProtocol, "handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(c.handler)
			defer web.Close()
			driver := open(t, strings.Replace(web.URL, "http", "ws", 1))
			defer driver.Close()
			err := driver.Ready(t.Context())
			expect(t, err, c.want)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			_, err = driver.Infer(t.Context(), batchOf(1, "first"))
			expect(t, err, media.BackendUnavailable) // whatever the reason, nobody has the batch
		})
	}
}

// hijack answers a handshake by hand.
func hijack(w http.ResponseWriter, headers string) {
	conn, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = stream.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + headers + "\r\n")
	_ = stream.Flush()
}

// TestNoHTTP meets what is no web server, and nobody.
func TestNoHTTP(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"garbage": strings.Repeat(secret, 100), "nothing": "", "half an answer": "HTTP/1.1 101 Swit"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := open(t, "ws://"+serveBytes(t, answer))
			defer driver.Close()
			expect(t, driver.Ready(t.Context()), media.BackendUnavailable)
		})
	}
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		// Nobody listens at the near end of a connection, and nobody else is given its port while it lasts.
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		driver := open(t, "ws://"+conn.LocalAddr().String())
		defer driver.Close()
		expect(t, driver.Ready(t.Context()), media.BackendUnavailable)
	})
}

// serveBytes answers whatever comes with the same bytes.
func serveBytes(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).Peek(1)
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// TestToken shows the token that is there at each handshake.
func TestToken(t *testing.T) {
	t.Parallel()
	shown := make(chan string, 1)
	s := &server{driver: backendtest.NewFake("fake", small())}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- r.Header.Get("Authorization") + " " + r.RequestURI
		s.ServeHTTP(w, r)
	}))
	defer web.Close()
	for name, c := range map[string]struct {
		token func() (string, error)
		want  string // of the header; nothing when there is no handshake
		wrong string // what is wrong then
	}{
		"none":       {nil, " /infer?tenant=7", ""},
		"empty":      {func() (string, error) { return "", nil }, "", "the token's file is empty"},
		"one":        {func() (string, error) { return "abc", nil }, "Bearer abc /infer?tenant=7", ""},
		"unreadable": {func() (string, error) { return "", errors.New("no file") }, "", "the token cannot be read: no file"},
	} {
		driver, err := websocket.Open(websocket.Config{URL: strings.Replace(web.URL, "http", "ws", 1) + "/infer?tenant=7", Model: "model", Token: c.token})
		if err != nil {
			t.Fatal(err)
		}
		err = driver.Ready(t.Context())
		switch {
		case c.want == "" && (backend.CodeOf(err) != media.BackendUnavailable || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "":
			if got := <-shown; got != c.want {
				t.Errorf("%s: the server sees %q, want %q", name, got, c.want)
			}
		}
		if strings.Contains(driver.Target(), "tenant") {
			t.Errorf("the target %s shows the query, which may hold a secret", driver.Target())
		}
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTLS asks a server that wants a client certificate, with and without what it takes.
func TestTLS(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(&server{driver: backendtest.NewFake("fake", small())})
	web.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	url := strings.Replace(web.URL, "https", "wss", 1) + "/infer?tenant=7"
	for name, c := range map[string]struct {
		tls  *tls.Config
		want media.ErrorCode
		says string
	}{
		"trusted":        {&tls.Config{RootCAs: roots, Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}, media.NoError, ""},
		"no certificate": {&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, media.BackendUnavailable, "cannot be reached"},
		"no authority":   {nil, media.BackendUnavailable, "not trusted: give the authority"},
	} {
		driver, err := websocket.Open(websocket.Config{URL: url, Model: "model", TLS: func() *tls.Config { return c.tls }})
		if err != nil {
			t.Fatal(err)
		}
		err = driver.Ready(t.Context())
		if backend.CodeOf(err) != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v that says %q", name, err, c.want, c.says)
		}
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestClosedWhileConnecting closes a driver whose server takes its time.
func TestClosedWhileConnecting(t *testing.T) {
	t.Parallel()
	asked, over := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(asked) }) // where dialling stalls it is tried again
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		first()
		<-over
	}))
	defer web.Close()
	defer close(over)
	driver := open(t, strings.Replace(web.URL, "http", "ws", 1))
	<-asked
	begin := time.Now()
	if err := driver.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("Close waited %v, as long as an attempt may take", took)
	}
	expect(t, driver.Ready(t.Context()), media.BackendUnavailable)
	if want := fmt.Sprintf("ws://%s", web.Listener.Addr()); driver.Target() != want {
		t.Errorf("the target is %s, want %s", driver.Target(), want)
	}
}
