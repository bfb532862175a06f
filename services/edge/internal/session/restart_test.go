package session

import (
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

// roaming is a client with two addresses, of which it has one at a time, on a network that takes 30 ms.
type roaming struct {
	t       *testing.T
	router  *vnet.Router
	rig     *rig
	client  *client
	camera  *camera
	session *Session
	answer  string

	address atomic.Pointer[net.IP]

	mu      sync.Mutex
	decoded []time.Time
}

// newRoaming connects a client whose offer change has had its way with. It must be ended.
func newRoaming(t *testing.T, change func(offer string) string) *roaming {
	t.Helper()
	r := &roaming{t: t}
	r.moveTo("10.0.0.2")
	var edgeNet, clientNet *vnet.Net
	var err error
	r.router, err = vnet.NewRouter(&vnet.RouterConfig{
		CIDR: "10.0.0.0/24", MinDelay: 30 * time.Millisecond, LoggerFactory: logging.NewDefaultLoggerFactory(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, addresses := range map[**vnet.Net][]string{&edgeNet: {"10.0.0.1"}, &clientNet: {"10.0.0.2", "10.0.0.3"}} {
		if *host, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: addresses}); err != nil {
			t.Fatal(err)
		}
		if err := r.router.AddNet(*host); err != nil {
			t.Fatal(err)
		}
	}
	r.router.AddChunkFilter(func(c vnet.Chunk) bool {
		gone := net.ParseIP("10.0.0.2")
		if r.address.Load().Equal(gone) {
			gone = net.ParseIP("10.0.0.3")
		}
		return !hostOf(c.SourceAddr()).Equal(gone) && !hostOf(c.DestinationAddr()).Equal(gone)
	})
	if err := r.router.Start(); err != nil {
		t.Fatal(err)
	}
	r.rig = newRigOn(t, edgeNet, nil)
	r.rig.decode = func(decoder.Request) ([]decoder.Picture, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.decoded = append(r.decoded, time.Now())
		return nil, nil
	}
	settings := webrtc.SettingEngine{}
	settings.SetNet(clientNet)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.Equal(*r.address.Load()) })
	r.client = r.rig.newClientOn(settings, func(c *client) { r.camera = c.camera("camera") })
	r.session, r.answer, err = r.rig.manager.Create(t.Context(), Request{Offer: change(r.client.offer())})
	if err != nil {
		t.Fatal(err)
	}
	r.client.accept(r.answer)
	<-time.After(3 * time.Second)
	if r.session.State() != Connected {
		t.Fatalf("the session is %q", r.session.State())
	}
	return r
}

func hostOf(a net.Addr) net.IP {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return nil
	}
	return net.ParseIP(host)
}

func (r *roaming) moveTo(address string) {
	ip := net.ParseIP(address)
	r.address.Store(&ip)
}

// film sends 30 frames a second, the first of them a key frame where it is asked for.
func (r *roaming) film(key bool, length time.Duration) {
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for range int(length / (time.Second / 30)) {
		select {
		case <-r.camera.keys:
			key = true
		default:
		}
		r.camera.send(key, false)
		key = false
		<-tick.C
	}
}

// firstSince tells how long after a time the first frame was decoded.
func (r *roaming) firstSince(from time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.decoded {
		if at.After(from) {
			return at.Sub(from)
		}
	}
	return time.Hour
}

// refuse asks for restarts that cannot be, and checks that the ICE session is the same.
func (r *roaming) refuse() {
	r.t.Helper()
	before := r.session.ICESession()
	client, err := sdpfrag.Parse(sdpfrag.Of(r.client.pc.LocalDescription().SDP))
	if err != nil {
		r.t.Fatal(err)
	}
	var refusal *Refusal
	_, err = r.session.Trickle(r.t.Context(), sdpfrag.Fragment{Ufrag: client.Ufrag, Password: strings.Repeat("p", 22)})
	if !errors.As(err, &refusal) || refusal.Code != CodeInvalidSDP {
		r.t.Errorf("a new password with the old user name: %v", err)
	}
	if answer, err := r.session.Trickle(r.t.Context(), sdpfrag.Fragment{Ufrag: "stranger", Candidates: []string{"candidate:1 1 udp 1 10.0.0.9 9 typ host"}}); answer != "" || err != nil {
		r.t.Errorf("candidates of a stranger: %q, %v", answer, err)
	}
	if after := r.session.ICESession(); after != before {
		r.t.Errorf("the ICE session was %s and is %s", before, after)
	}
}

// restart restarts ICE as a WHIP client does, over a way that takes as long as the network.
func (r *roaming) restart() {
	r.t.Helper()
	offer, err := r.client.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		r.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(r.client.pc)
	if err := r.client.pc.SetLocalDescription(offer); err != nil {
		r.t.Fatal(err)
	}
	<-gathered
	fragment, err := sdpfrag.Parse(sdpfrag.Of(r.client.pc.LocalDescription().SDP))
	if err != nil {
		r.t.Fatal(err)
	}
	<-time.After(30 * time.Millisecond)
	before := r.session.ICESession()
	description, err := r.session.Trickle(r.t.Context(), fragment)
	if err != nil {
		r.t.Fatal(err)
	}
	<-time.After(30 * time.Millisecond)
	edge, err := sdpfrag.Parse(sdpfrag.Of(description))
	if err != nil {
		r.t.Fatal(err)
	}
	if edge.Ufrag == before || edge.Ufrag != r.session.ICESession() || len(edge.Candidates) == 0 {
		r.t.Errorf("after the ICE session %s comes %+v", before, edge)
	}
	r.answer = sdpfrag.Restart(r.answer, edge.Ufrag, edge.Password)
	r.client.accept(r.answer)
	for _, candidate := range edge.Candidates {
		if err := r.client.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: candidate}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *roaming) end() {
	r.rig.close()
	_ = r.client.pc.GracefulClose()
	_ = r.router.Stop()
}

// The client's address changes while it films. It restarts ICE by a fragment, and the stream goes on: no second one begins, and it takes at most one
// key frame.
func TestAnICERestartFollowsTheClient(t *testing.T) {
	sources := regexp.MustCompile(`a=ssrc(-group)?:.*\r\n`)
	for name, change := range map[string]func(string) string{
		"sources declared":   asIs,
		"sources undeclared": func(offer string) string { return sources.ReplaceAllString(offer, "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRoaming(t, change)
				defer r.end()
				r.film(true, time.Second)
				r.refuse()
				r.film(false, time.Second)
				if after := r.firstSince(time.Now().Add(-200 * time.Millisecond)); after > 100*time.Millisecond {
					t.Errorf("after restarts that were refused no frame came for %v", after)
				}
				moved := time.Now()
				r.moveTo("10.0.0.3")
				done := make(chan struct{})
				go func() { defer close(done); r.film(false, 5*time.Second) }()
				r.restart()
				<-done
				if after := r.firstSince(moved); after > time.Second {
					t.Errorf("the first frame after the move came after %v", after)
				}
				<-time.After(time.Second)
				if s := r.session.State(); s != Connected {
					t.Errorf("the session is %q", s)
				}
				r.session.Close("test")
				if counts := r.session.Counts(); len(counts) != 1 || counts[0].Received < 190 {
					t.Errorf("the session had the streams %+v", counts)
				}
			})
		})
	}
}
