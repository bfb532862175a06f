package whip

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestShuffled(t *testing.T) {
	t.Parallel()
	var addresses []netip.Addr
	for _, a := range []string{"10.0.0.1", "::ffff:10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2"} {
		addresses = append(addresses, netip.MustParseAddr(a))
	}
	led := map[netip.Addr]bool{}
	for range 200 {
		got := shuffled(addresses)
		if len(got) != len(addresses) || !got[0].Is4() || !got[2].Is4() || got[3].Is4() {
			t.Fatalf("shuffled to %v: want each once, those of the first one's family first", got)
		}
		led[got[0]] = true
	}
	if len(led) != 3 {
		t.Errorf("in 200 times the first one was one of %v, want each of three", led)
	}
	if got := shuffled(nil); len(got) != 0 {
		t.Errorf("of nothing it made %v", got)
	}
}

// A connection is made for each request: who has been refused is not bound to who refused.
func TestConnectionsAreNotKept(t *testing.T) {
	t.Parallel()
	var remotes []string
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remotes = append(remotes, r.RemoteAddr)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer edge.Close()
	_, port, err := net.SplitHostPort(edge.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient("http://localhost:"+port, "") // may be ::1 too, where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = client.Publish(t.Context(), "v=0", nil)
		if p, ok := err.(*Problem); !ok || p.RetryAfter != 7*time.Second || p.Final() { //nolint:errorlint // exactly this
			t.Fatalf("error %v, want a refusal for 7 s", err)
		}
	}
	if len(remotes) != 2 || len(slices.Compact(remotes)) != 2 {
		t.Errorf("two requests came from %v, want two connections", remotes)
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{400: true, 401: true, 404: false, 408: false, 422: true, 429: false, 500: false, 502: false, 503: false} {
		if p := (&Problem{Status: status}); p.Final() != want {
			t.Errorf("status %d is final: %v", status, p.Final())
		}
	}
}
