package whip

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestClient(t *testing.T) {
	t.Parallel()
	deleted := 0
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == http.MethodDelete:
			deleted++
			if deleted > 1 {
				w.WriteHeader(http.StatusNotFound)
			}
		case r.Header.Get("Authorization") != "Bearer sesame":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"status":401,"code":"UNAUTHORIZED","detail":"send a token"}`)
		case r.URL.Query()["model"][1] != "speech" || r.Header.Get("Content-Type") != "application/sdp" || string(body) != "v=0 offer":
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "a text that is no problem document")
		default:
			w.Header().Set("Location", "/whip/secret")
			w.Header().Add("Link", `<turn:turn.example>; rel="ice-server"`)
			w.Header().Add("Link", `</sessions/abc/results>; rel="urn:ietf:params:whip:ext:sluice:results"`)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "v=0 answer")
		}
	}))
	defer edge.Close()
	client, err := NewClient(edge.URL, "sesame")
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Publish(t.Context(), "v=0 offer", []string{"faces", "speech"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Answer != "v=0 answer" || s.Resource.String() != edge.URL+"/whip/secret" || s.Results != edge.URL+"/sessions/abc/results" {
		t.Errorf("session %+v", s)
	}
	for range 2 { // The second one finds the session gone, which is what was wanted.
		if err := client.End(t.Context(), s); err != nil {
			t.Errorf("End: %v", err)
		}
	}
	var p *Problem
	if _, err = client.Publish(t.Context(), "other", []string{"a", "b"}); !errors.As(err, &p) || p.Status != http.StatusTeapot || !strings.Contains(err.Error(), "no problem document") {
		t.Errorf("a refusal in plain text: %v", err)
	}
	client.Token = "wrong"
	if _, err = client.Publish(t.Context(), "v=0 offer", nil); !errors.As(err, &p) || p.Code != "UNAUTHORIZED" || !strings.Contains(err.Error(), "send a token") {
		t.Errorf("a refusal: %v", err)
	}
	edge.Close()
	if _, err = client.Publish(t.Context(), "v=0 offer", nil); err == nil || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("no edge: %v", err)
	}
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for _, edge := range []string{"", "127.0.0.1:8080", "ftp://edge", "http://", "http://%zz"} {
		if _, err := NewClient(edge, ""); err == nil {
			t.Errorf("%q was taken", edge)
		}
	}
}
