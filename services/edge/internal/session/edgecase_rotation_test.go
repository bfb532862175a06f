package session

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

const orientationURI = "urn:3gpp:video-orientation"

// TestEdgeCase07APhoneTurns turns a phone in mid-stream: what a packet says holds from its own picture on, until another one says otherwise.
func TestEdgeCase07APhoneTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		send := func(frame, part int, key bool, turned int) { // frames of two packets
			payload := []byte{0x00, 1}
			if part == 0 {
				payload = []byte{0x10, 0x01, 0, 0, 1}
				if key {
					payload = []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0}
				}
			}
			header := rtp.Header{Version: 2, SequenceNumber: uint16(65530 + 2*frame + part), Timestamp: uint32(1<<32 - 9000 + 3000*frame), SSRC: 5, Marker: part == 1}
			p := peer.Packet{RTP: &rtp.Packet{Header: header, Payload: payload}, Codec: media.VP8, Arrival: time.Now()}
			if turned >= 0 {
				p.Rotation, p.Oriented = uint16(turned), true
			}
			b.packets <- p
			synctest.Wait()
		}
		for _, s := range []struct {
			frame, part, turned int
		}{
			{0, 0, -1}, {0, 1, -1}, // says nothing
			{1, 0, -1}, {1, 1, 90}, // with its last packet
			{2, 0, -1}, {2, 1, -1},
			{3, 0, -1}, {4, 0, -1}, {4, 1, 270}, {3, 1, -1}, // the one that says so overtakes the frame before
			{5, 0, -1}, {6, 0, -1}, {6, 1, 0}, {5, 1, 180}, // and one that says something older comes late
			{7, 0, -1}, {7, 1, -1},
		} {
			send(s.frame, s.part, s.frame == 0, s.turned)
		}
		got := []uint16{}
		for _, u := range b.decoder.units {
			got = append(got, u.Unit.Rotation)
		}
		// Of two changes within the time of a reordering only the newer is known; the picture between them is as it was.
		if want := "[0 90 90 90 270 270 0 0]"; fmt.Sprint(got) != want {
			t.Errorf("turned by %v, want %s", got, want)
		}
		b.stop()
	})
}

// TestEdgeCase07ASenderThatInsists offers the extension and sends it although the answer does not take it.
func TestEdgeCase07ASenderThatInsists(t *testing.T) {
	r := newRig(t, nil)
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var cam *camera
	c := r.newClientWith(settings, func(engine *webrtc.MediaEngine, _ *interceptor.Registry) error {
		return engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: orientationURI}, webrtc.RTPCodecTypeVideo)
	}, func(c *client) { cam = c.camera("camera") })
	t.Cleanup(func() { _ = c.pc.GracefulClose() })
	offer := c.offer()
	session, answer, err := r.manager.Create(t.Context(), Request{Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(answer, orientationURI) {
		t.Error("the answer takes the extension, so that senders would not turn their pictures")
	}
	before, _, offered := strings.Cut(offer, " "+orientationURI)
	id, err := strconv.Atoi(before[strings.LastIndex(before, ":")+1:])
	if !offered || err != nil {
		t.Fatalf("the offer lacks the extension: %v", err)
	}
	c.accept(answer)
	for deadline := time.Now().Add(soon); ; {
		packet := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: cam.seq, Timestamp: cam.ts, Marker: true},
			Payload: []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0},
		}
		cam.seq, cam.ts = cam.seq+1, cam.ts+3000
		if err := packet.SetExtension(uint8(id), []byte{3}); err != nil {
			t.Fatal(err)
		}
		if err := cam.track.WriteRTP(packet); err != nil {
			t.Fatal(err)
		}
		if session.State() == Connected && r.turned() == 270 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the last picture was turned by %d", r.turned())
		}
		<-time.After(10 * time.Millisecond)
	}
}

// turned gives the rotation of the picture decoded last.
func (r *rig) turned() (degrees uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.decoders {
		d.mu.Lock()
		if n := len(d.units); n > 0 {
			degrees = d.units[n-1].Unit.Rotation
		}
		d.mu.Unlock()
	}
	return degrees
}
