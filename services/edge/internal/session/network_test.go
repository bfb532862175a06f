package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"
)

// network is two hosts on a network of the test's own, in the time of a synctest bubble.
type network struct {
	router       *vnet.Router
	edge, client *vnet.Net
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	return newNetworkOver(t, 0)
}

// newNetworkOver makes a network that takes its time to carry a packet.
func newNetworkOver(t *testing.T, delay time.Duration) *network {
	t.Helper()
	router, err := vnet.NewRouter(&vnet.RouterConfig{
		CIDR: "10.0.0.0/24", MinDelay: delay, LoggerFactory: logging.NewDefaultLoggerFactory(),
	})
	if err != nil {
		t.Fatal(err)
	}
	n := &network{router: router}
	for address, host := range map[string]**vnet.Net{"10.0.0.1": &n.edge, "10.0.0.2": &n.client} {
		if *host, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{address}}); err != nil {
			t.Fatal(err)
		}
		if err := router.AddNet(*host); err != nil {
			t.Fatal(err)
		}
	}
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *network) settings() webrtc.SettingEngine {
	s := webrtc.SettingEngine{}
	s.SetNet(n.client)
	return s
}

func TestAClientThatNeverConnectsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		r := newRigOn(t, n.edge, nil)
		c := r.newClientOn(n.settings(), func(c *client) { c.channel("m", "") })
		began := time.Now()
		s, _, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		// ICE fails first when nothing comes at all; the limit is for clients that stop half-way.
		if after := time.Since(began); after < 15*time.Second || after > setupLimit {
			t.Errorf("given up after %v", after)
		}
		r.close()
		_ = c.pc.GracefulClose()
		_ = n.router.Stop()
	})
}

// A connection without data channels: closing one waits for a timer with a mutex held, which stops a bubble's clock.
func TestAClientThatVanishesIsClosedInBoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		r := newRigOn(t, n.edge, nil)
		c := r.newClientOn(n.settings(), func(c *client) { c.camera("camera") })
		s, answer, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
		if err != nil {
			t.Fatal(err)
		}
		c.accept(answer)
		<-time.After(5 * time.Second)
		if s.State() != Connected {
			t.Fatalf("the session is %q", s.State())
		}
		n.router.AddChunkFilter(func(vnet.Chunk) bool { return false }) // the cable is pulled
		began := time.Now()
		<-time.After(8 * time.Second)
		if s.State() != Disconnected {
			t.Errorf("%v later the session is %q", time.Since(began), s.State())
		}
		<-s.Done()
		if after := time.Since(began); after > 30*time.Second {
			t.Errorf("ended after %v", after)
		}
		r.close()
		_ = c.pc.GracefulClose()
		_ = n.router.Stop()
	})
}

func TestMediaOverALossyNetwork(t *testing.T) {
	n := newNetwork(t)
	defer func() { _ = n.router.Stop() }()
	r := newRigOn(t, n.edge, nil)
	var cam *camera
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.newClientOn(n.settings(), func(c *client) {
		cam = c.camera("camera")
		d, got = c.channel("", controlProtocol)
	})
	defer r.close()
	defer func() { _ = c.pc.GracefulClose() }()
	s, answer, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
	if err != nil {
		t.Fatal(err)
	}
	c.accept(answer)
	opened(t, d)
	passed := 0 // the router calls its filter from one goroutine
	n.router.AddChunkFilter(func(vnet.Chunk) bool { passed++; return passed%20 != 0 })
	const frames = 150
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for i := range frames {
		key := i == 0
		select {
		case <-cam.keys:
			key = true
		default:
		}
		cam.send(key, false)
		<-pace.C
	}
	for ended := 0; ended < frames; {
		m := outcome(t, got)
		ended = int(m.Outcome.Sequence)
		if m.Outcome.Drop != nil && m.Outcome.Drop.Reason != "DAMAGED" {
			t.Errorf("unit %d: %s", ended, m.Outcome.Drop.Reason)
		}
		if ended >= frames-frames/10 { // the last ones may be lost
			break
		}
	}
	s.Close("test")
	counts := checkCounts(t, s)["camera"]
	if counts.Models[0].Results < frames*85/100 {
		t.Errorf("%d results of %d frames; counts %+v", counts.Models[0].Results, frames, counts)
	}
}

func TestAClientBehindAFirewallConnectsOverTCP(t *testing.T) {
	r := newRig(t, nil)
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.newClientOn(settings, func(c *client) { d, got = c.channel("m", "") })
	t.Cleanup(func() { _ = c.pc.GracefulClose() })
	s, answer, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
	if err != nil {
		t.Fatal(err)
	}
	c.accept(answer)
	opened(t, d)
	send(t, d, jpeg(100_000))
	if o := outcome(t, got).Outcome; o.Result == nil {
		t.Errorf("over TCP: %+v", o)
	}
	s.Close("test")
}
