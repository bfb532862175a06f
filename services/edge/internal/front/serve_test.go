package front

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A client that sends slowly is cut off in time, whatever it is slow with, and does not hold up others.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const head = "POST /whip HTTP/1.1\r\nHost: edge.example\r\nContent-Type: application/sdp\r\n"
	for name, tc := range map[string]struct {
		start, more string // more is repeated every second
		limit       time.Duration
		status      int // of an answer before the cut; 0 when there need not be one
	}{
		"headers":          {"GET / HTTP/1.1\r\nX-Slow: ", "a", headerTimeout + time.Second, 0},
		"nothing":          {"", "", headerTimeout + time.Second, 0},
		"body with length": {head + "Content-Length: 60000\r\n\r\nv=0", "a", readTimeout + time.Second, http.StatusRequestTimeout},
		"body in chunks":   {head + "Transfer-Encoding: chunked\r\n\r\n3\r\nv=0\r\n", "1\r\na\r\n", readTimeout + time.Second, http.StatusRequestTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, _ := fixture(t, nil)
				listener := newPipes()
				ctx, cancel := context.WithCancel(context.Background())
				served := make(chan error, 1)
				go func() { served <- f.Serve(ctx, listener, nil) }()
				conn, err := listener.dial(ctx, "", "")
				if err != nil {
					t.Fatal(err)
				}
				start, cut := time.Now(), make(chan struct{})
				go trickleBytes(conn, tc.start, tc.more, cut)
				if tc.status != 0 {
					response, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // the connection is closed below
					if err != nil {
						t.Fatal(err)
					}
					checkProblem(t, answer{response}, tc.status, codeRequestTimeout)
				}
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(start); took > tc.limit {
					t.Errorf("cut off after %v, want at most %v", took, tc.limit)
				}
				close(cut)
				_ = conn.Close()
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// trickleBytes sends start, and then more every second until cut is closed or nobody listens.
func trickleBytes(conn net.Conn, start, more string, cut <-chan struct{}) {
	text := start
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		text = more
		select {
		case <-cut:
			return
		case <-time.After(time.Second):
		}
	}
}

func TestLongHeaders(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, nil)
	base := serveTCP(t, f, nil)
	for size, want := range map[int]int{8 << 10: http.StatusOK, 17 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+base+"/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("a", size))
		response, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("headers of %d bytes: status %d, want %d", size, response.StatusCode, want)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestServerHasLimits(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, nil)
	s := f.server(t.Context())
	if s.ReadHeaderTimeout != 5*time.Second || s.ReadTimeout != 10*time.Second || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 ||
		s.MaxHeaderBytes+4096 > 16<<10 || s.HTTP2 == nil || s.HTTP2.MaxConcurrentStreams != 100 {
		t.Errorf("the server's limits are %+v", s)
	}
}

// serveTCP serves a front on a real port until the test ends.
func serveTCP(t *testing.T, f *Front, secure *tls.Config) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx, listener, secure) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// selfSigned gives a certificate for edge.example, and its key.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"edge.example"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}
}

func TestTLSAnswers(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, nil)
	address := serveTCP(t, f, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} // self-signed
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/whip", strings.NewReader(offerSDP))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Origin", "https://"+address)
	response, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	location := response.Header.Get("Location")
	if response.StatusCode != http.StatusCreated || response.ProtoMajor != 2 || location != fmt.Sprintf("https://%s/whip/SECRETsession1", address) {
		t.Errorf("status %d, HTTP/%d, Location %q", response.StatusCode, response.ProtoMajor, location)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, nil)
	post().do(t, f)
	post(withBody("")).do(t, f)
	request{method: "BREW", path: "/whip/secret1"}.do(t, f)
	request{method: "BREW", path: "/whip/secret2"}.do(t, f)
	want := `
		# HELP sluice_edge_http_requests_total Answered HTTP requests.
		# TYPE sluice_edge_http_requests_total counter
		sluice_edge_http_requests_total{method="OTHER",route="/whip/{secret}",status="405"} 2
		sluice_edge_http_requests_total{method="POST",route="/whip",status="201"} 1
		sluice_edge_http_requests_total{method="POST",route="/whip",status="400"} 1
	`
	if err := testutil.CollectAndCompare(f.requests, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
