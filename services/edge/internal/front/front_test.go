package front

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	offerSDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
	tokenA   = "token-of-client-A"
	tokenB   = "token-of-client-B"
	friend   = "https://app.example"
)

// fakeSessions is a session manager that holds up to capacity sessions and knows the model "faces".
type fakeSessions struct {
	capacity int
	// routerless makes it know no models yet.
	routerless bool
	// gathered are trickled before the answer is given, so that holding them back is tested.
	gathered []string
	// edge is the name of one edge among several; empty for one alone.
	edge string

	mu      sync.Mutex
	ids     int
	live    map[string]*fakeSession // by id
	created []Offer
}

func (s *fakeSessions) NewID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	return s.prefix() + fmt.Sprintf("session%d", s.ids)
}

func (s *fakeSessions) prefix() string {
	if s.edge == "" {
		return ""
	}
	return s.edge + "-"
}

func (s *fakeSessions) Create(_ context.Context, offer Offer) (Session, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.routerless {
		return nil, "", &Problem{Status: http.StatusServiceUnavailable, Code: "NO_ROUTER", Detail: "no router", RetryAfter: 2 * time.Second}
	}
	for _, name := range offer.Models {
		if name != "faces" {
			return nil, "", refuse(http.StatusUnprocessableEntity, "UNKNOWN_MODEL", "no such model")
		}
	}
	if len(s.live) >= s.capacity {
		return nil, "", &Problem{Status: http.StatusServiceUnavailable, Code: "TOO_MANY_SESSIONS", Detail: "full", RetryAfter: 4100 * time.Millisecond}
	}
	if strings.Contains(offer.SDP, "defect") {
		return nil, "", fmt.Errorf("words that no client may see")
	}
	if strings.Contains(offer.SDP, "panic") {
		panic("words that no client may see")
	}
	if strings.Contains(offer.SDP, "late") && offer.Trickle != nil {
		offer.Trickle(&webrtc.ICECandidateInit{Candidate: "candidate:0"})
		return nil, "", refuse(http.StatusUnprocessableEntity, "UNSUPPORTED_CODEC", "found late")
	}
	session := &fakeSession{owner: s, id: offer.ID, secret: "SECRET" + strings.TrimPrefix(offer.ID, s.prefix()), hub: downlink.NewHub(), trickle: offer.Trickle}
	s.live[session.id] = session
	s.created = append(s.created, offer)
	if offer.Trickle != nil {
		for _, candidate := range s.gathered {
			offer.Trickle(&webrtc.ICECandidateInit{Candidate: candidate})
		}
		offer.Trickle(nil)
	}
	if offer.Media != nil {
		session.offered = true
		return session, fmt.Sprintf("v=0 offer for %d and %d", offer.Media.Video, offer.Media.Audio), nil
	}
	return session, "v=0 answer to " + offer.ID, nil
}

func (s *fakeSessions) BySecret(secret string) (Session, bool) {
	return s.ByID(s.prefix() + strings.TrimPrefix(secret, "SECRET"))
}

func (s *fakeSessions) ByID(id string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.live[id]
	return session, ok
}

func (s *fakeSessions) get(t *testing.T, id string) *fakeSession {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.live[id]
	if !ok {
		t.Fatalf("there is no session %q", id)
	}
	return session
}

// fakeSession delivers through a real hub.
type fakeSession struct {
	owner      *fakeSessions
	id, secret string
	hub        *downlink.Hub
	trickle    func(*webrtc.ICECandidateInit)

	mu         sync.Mutex
	candidates []string
	restarts   int
	offered    bool
	answers    []string
	closed     string
}

func (s *fakeSession) ID() string     { return s.id }
func (s *fakeSession) Secret() string { return s.secret }

func (s *fakeSession) AddCandidate(candidate webrtc.ICECandidateInit) error {
	if candidate.Candidate == "nonsense" {
		return refuse(http.StatusBadRequest, "INVALID_CANDIDATE", "not a candidate")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = append(s.candidates, candidate.Candidate)
	return nil
}

func (s *fakeSession) ICESession() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("ice%d", s.restarts+1)
}

// Trickle takes the client to have begun with the user name "first".
func (s *fakeSession) Trickle(_ context.Context, f sdpfrag.Fragment) (string, error) {
	if f.Ufrag == "full" {
		return "", refuse(http.StatusBadRequest, codeInvalidSDP, "cannot be")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = append(s.candidates, f.Candidates...)
	if f.Ufrag == "" || f.Ufrag == "first" {
		return "", nil
	}
	s.restarts++
	return fmt.Sprintf("v=0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:ice%d\r\n"+
		"a=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\na=end-of-candidates\r\n", s.restarts+1), nil
}

// Offer begins with the session; the fake lets only one wait.
func (s *fakeSession) Offer(_ context.Context, media Media, restart bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offered {
		return "", refuse(http.StatusConflict, "NOT_DUE", "an offer waits")
	}
	s.offered = true
	return fmt.Sprintf("v=0 offer for %d and %d, %v", media.Video, media.Audio, restart), nil
}

func (s *fakeSession) Accept(answer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.offered {
		return refuse(http.StatusConflict, "NOT_DUE", "no offer waits")
	}
	s.offered, s.answers = false, append(s.answers, answer)
	return nil
}

func (s *fakeSession) Renegotiate(_ context.Context, offer string) (string, error) {
	if strings.Contains(offer, "more") {
		return "", refuse(http.StatusUnprocessableEntity, "UNSUPPORTED_CODEC", "too much")
	}
	return "v=0 second answer", nil
}

func (s *fakeSession) Subscribe(after uint64) (*downlink.Sink, error) {
	return s.hub.Subscribe(after)
}

func (s *fakeSession) Close(reason string) {
	s.owner.mu.Lock()
	delete(s.owner.live, s.id)
	s.owner.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != "" {
		return
	}
	s.closed = reason
	s.end()
}

// end is the session's end as its sinks see it. It stays known.
func (s *fakeSession) end() {
	_ = s.hub.Publish(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Summary{Summary: &sluicev1.Summary{Session: &s.id}}})
	s.hub.Close()
}

func (s *fakeSession) publish(t *testing.T, sequence uint32) {
	t.Helper()
	err := s.hub.Publish(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: &sluicev1.Outcome{Sequence: &sequence}}})
	if err != nil {
		t.Error(err)
	}
}

type fakeCatalog struct{ unknown bool }

func (c fakeCatalog) Snapshot() ([]media.Model, []media.Input, bool) {
	if c.unknown {
		return nil, nil, false
	}
	models := []media.Model{
		{Name: "faces", InputID: 7, Rate: 15, Deadline: 250 * time.Millisecond, Result: "detections", Ready: true},
		{Name: "other", InputID: 8, Result: "classes"},
		{Name: "files", InputID: 9}, {Name: "speech", InputID: 10}, {Name: "pose", InputID: 11}, {Name: "words", InputID: 12},
		{Name: "stranger", InputID: 13},
	}
	inputs := []media.Input{
		{ID: 7, Form: media.PictureForm(media.PictureInput{Width: 320, Height: 240, Fit: media.Letterbox, Color: media.RGB})},
		{ID: 8, Form: media.PictureForm(media.PictureInput{Width: 224, Height: 224, Fit: media.Crop, Color: media.BGR})},
		{ID: 9, Form: media.PictureForm(media.PictureInput{Width: 640, Height: 480, Encoding: media.EncodedJPEG})},
		{ID: 10, Form: media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 256, Context: 64})},
		{ID: 11, Form: media.TensorForm(media.TensorInput{Datatype: media.FP32, Shape: "1,63"})},
		{ID: 12, Form: media.DocumentForm()},
	}
	return models, inputs, true
}

// fixture is a front with its fakes. change may alter its configuration.
func fixture(t *testing.T, change func(*Config, *fakeSessions, *fakeCatalog)) (*Front, *fakeSessions) {
	t.Helper()
	sessions := &fakeSessions{capacity: 10, live: map[string]*fakeSession{}, gathered: []string{"candidate:1", "candidate:2"}}
	catalog := fakeCatalog{}
	cfg := Config{
		Origins: []string{friend}, Connections: 4, Version: "v1.2.3", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&cfg, sessions, &catalog)
	}
	f, err := New(cfg, sessions, catalog)
	if err != nil {
		t.Fatal(err)
	}
	return f, sessions
}

func withTokens(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.Tokens = []string{tokenA, tokenB} }

// request is one HTTP exchange: fields that are empty take the value of a well-formed WHIP POST.
type request struct {
	method, path, body string
	header             map[string]string
	host               string // empty: edge.example:8080
}

// answer is a response whose body needs no closing, because it was recorded or is closed by who made it.
type answer struct{ *http.Response }

func (r request) do(t *testing.T, h http.Handler) answer {
	t.Helper()
	req := httptest.NewRequest(r.method, "http://edge.example:8080"+r.path, strings.NewReader(r.body))
	if r.host != "" {
		req.Host = r.host
	}
	if r.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/sdp")
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, req)
	return answer{recorder.Result()}
}

func bodyOf(t *testing.T, response answer) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// checkProblem fails unless the answer is a problem document with the code.
func checkProblem(t *testing.T, response answer, status int, code Code) {
	t.Helper()
	var document struct {
		Title, Detail string
		Status        int
		Code          Code
	}
	body := bodyOf(t, response)
	if response.StatusCode != status {
		t.Errorf("status %d, want %d; body %s", response.StatusCode, status, body)
	}
	if got := response.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", got)
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatalf("the body is not JSON: %v: %s", err, body)
	}
	if document.Code != code || document.Status != status || document.Title != http.StatusText(status) || document.Detail == "" {
		t.Errorf("problem %+v, want code %s and status %d", document, code, status)
	}
	if strings.Contains(body, "no client may see") {
		t.Errorf("words of ours reached the client: %s", body)
	}
}
