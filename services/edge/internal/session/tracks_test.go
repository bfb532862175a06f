package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// A page whose camera is switched on and off all day has few tracks at a time, and many one after the other.
func TestTracksComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const times = 12
		n := newNetworkOver(t, 20*time.Millisecond)
		r := newRigOn(t, n.edge, nil)
		r.catalog = speech()
		c := r.newClientOn(n.settings(), func(c *client) { c.channel("m", "application/json") })
		defer func() {
			r.close()
			_ = c.pc.GracefulClose()
			_ = n.router.Stop()
		}()
		session, answer, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
		if err != nil {
			t.Fatal(err)
		}
		c.accept(answer)
		renegotiate := func() {
			t.Helper()
			answer, err := session.Renegotiate(t.Context(), c.offer())
			if err != nil {
				t.Fatal(err)
			}
			c.accept(answer)
		}
		for i := range times {
			track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "voice", "stream")
			if err != nil {
				t.Fatal(err)
			}
			// As addTransceiver can and addTrack does. Without its track the one becomes inactive, the other recvonly.
			direction := []webrtc.RTPTransceiverDirection{webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPTransceiverDirectionSendrecv}[i%2]
			transceiver, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: direction})
			if err != nil {
				t.Fatal(err)
			}
			renegotiate()
			<-time.After(time.Second)
			for j := range 16 {
				err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(j), Timestamp: uint32(j * 960)}, Payload: []byte{31 << 3, 3}})
				if err != nil {
					t.Fatal(err)
				}
				<-time.After(20 * time.Millisecond)
			}
			<-time.After(100 * time.Millisecond) // what is under way
			if err := c.pc.RemoveTrack(transceiver.Sender()); err != nil {
				t.Fatal(err)
			}
			renegotiate()
			<-time.After(2 * time.Second)
			if got := session.State(); got != Connected {
				t.Fatalf("after %d tracks the session is %q", i+1, got)
			}
		}
		session.Close("test")
		counts := checkCounts(t, session)
		if len(counts) != times+1 {
			t.Errorf("%d streams", len(counts))
		}
		for name, stream := range counts {
			if name != "m" && stream.Received != 10 {
				t.Errorf("%s: %+v", name, stream)
			}
		}
	})
}
