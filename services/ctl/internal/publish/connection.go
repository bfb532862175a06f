package publish

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

// connectLimit bounds the time from the offer to a connection.
const connectLimit = 20 * time.Second

// The names of the streams.
const (
	videoStream = "video"
	soundStream = "audio"
)

// wish says what a connection is for.
type wish struct {
	video, sound *clip.Clip // either may be nil
	models       []string
	loss         *loss // nil for none
}

// connection is one PeerConnection with what is published and the session's message channel.
type connection struct {
	peer    *webrtc.PeerConnection
	video   *webrtc.TrackLocalStaticRTP // nil without video
	sound   *webrtc.TrackLocalStaticRTP // nil without packets of sound
	samples *webrtc.DataChannel         // nil without raw sound
	channel *webrtc.DataChannel
	session *whip.Session
	client  *whip.Client
	// up closes when the connection is established, down when it has failed or was closed by the edge.
	up, down chan struct{}
	// feedback are the readers of what the edge says about the tracks.
	feedback sync.WaitGroup
}

// connect publishes through WHIP and waits until media can flow. onMessage is called for every text message, from one goroutine.
func connect(ctx context.Context, client *whip.Client, w wish, onMessage func([]byte)) (_ *connection, err error) {
	api, err := newAPI(client.Edge.Hostname(), w.loss)
	if err != nil {
		return nil, err
	}
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	c := &connection{peer: peer, client: client, up: make(chan struct{}), down: make(chan struct{})}
	defer func() { //nolint:contextcheck // The session is ended also when ctx is what ended.
		if err != nil {
			c.close()
		}
	}()
	opened, err := c.open(w)
	if err != nil {
		return nil, err
	}
	c.channel.OnMessage(func(m webrtc.DataChannelMessage) { onMessage(m.Data) })
	c.watch()
	if err := c.negotiate(ctx, w.models); err != nil {
		return nil, err
	}
	limit := time.NewTimer(connectLimit)
	defer limit.Stop()
	for _, wait := range append(opened, c.up) {
		select {
		case <-wait:
		case <-c.down:
			return nil, errors.New("the connection to the edge failed: is its ICE port (8189 by UDP or TCP) reachable?")
		case <-limit.C:
			return nil, fmt.Errorf("no connection to the edge within %s: is its ICE port (8189 by UDP or TCP) reachable?", connectLimit)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c, nil
}

// open makes the tracks and the channels; what it gives closes when the channels are open.
func (c *connection) open(w wish) (opened []<-chan struct{}, err error) {
	track := func(name string, codec media.Codec) (*webrtc.TrackLocalStaticRTP, error) {
		t, err := webrtc.NewTrackLocalStaticRTP(capabilityOf(codec), name, "sluicectl")
		if err != nil {
			return nil, err
		}
		transceiver, err := c.peer.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return nil, err
		}
		c.feedback.Go(func() { readFeedback(transceiver.Sender()) }) // joined by close
		return t, nil
	}
	channel := func(label, protocol string) (*webrtc.DataChannel, error) {
		d, err := c.peer.CreateDataChannel(label, &webrtc.DataChannelInit{Protocol: &protocol})
		if err != nil {
			return nil, err
		}
		open := make(chan struct{})
		d.OnOpen(func() { close(open) })
		opened = append(opened, open)
		return d, nil
	}
	if w.video != nil {
		if c.video, err = track(videoStream, w.video.Codec); err != nil {
			return nil, err
		}
	}
	switch {
	case w.sound == nil:
	case w.sound.Codec == media.Opus:
		if c.sound, err = track(soundStream, w.sound.Codec); err != nil {
			return nil, err
		}
	default:
		protocol := fmt.Sprintf("audio/x-raw;format=S16LE;rate=%d;channels=%d", w.sound.Sound.Clock, w.sound.Sound.Channels)
		if c.samples, err = channel(soundStream, protocol); err != nil {
			return nil, err
		}
	}
	c.channel, err = channel("outcomes", "sluice.v1+json")
	return opened, err
}

// capabilityOf gives a codec as the offer names it.
func capabilityOf(codec media.Codec) webrtc.RTPCodecCapability {
	c := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: clockRate}
	switch codec {
	case media.Opus:
		c = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: clip.OpusClock, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}
	case media.H264:
		c.MimeType, c.SDPFmtpLine = webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	case media.H265:
		c.MimeType = webrtc.MimeTypeH265
	case media.VP9:
		c.MimeType, c.SDPFmtpLine = webrtc.MimeTypeVP9, "profile-id=0"
	case media.AV1:
		c.MimeType = webrtc.MimeTypeAV1
	default:
	}
	return c
}

// watch turns the connection's states into the two events. Each state is told by a goroutine of its own, so that two may be told at once.
func (c *connection) watch() {
	up, down := sync.OnceFunc(func() { close(c.up) }), sync.OnceFunc(func() { close(c.down) })
	c.peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			up()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			down()
		default:
		}
	})
}

func (c *connection) negotiate(ctx context.Context, models []string) error {
	offer, err := c.peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(c.peer)
	if err := c.peer.SetLocalDescription(offer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.session, err = c.client.Publish(ctx, c.peer.LocalDescription().SDP, models); err != nil {
		return err
	}
	if err := c.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.session.Answer}); err != nil {
		return fmt.Errorf("the edge's answer cannot be used: %w", err)
	}
	return nil
}

// close ends the session at the edge and frees the connection. It may be called once only.
func (c *connection) close() {
	if c.session != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.client.End(ctx, c.session) // The edge notices by itself when it cannot be told.
	}
	_ = c.peer.GracefulClose() // Nothing can be done about a connection that does not close cleanly.
	c.feedback.Wait()
}

// readFeedback takes what the edge says about a track until that has ended. pion sends again what the edge asks for only while somebody reads; a file's key frames
// come when they come.
func readFeedback(sender *webrtc.RTPSender) {
	packet := make([]byte, 1500)
	for {
		if _, _, err := sender.Read(packet); err != nil {
			return
		}
	}
}

// newAPI builds pion's API. For an edge on this machine's loopback address the media stays on loopback too.
func newAPI(host string, lossy *loss) (*webrtc.API, error) {
	settings := webrtc.SettingEngine{}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if ip := net.ParseIP(host); host == "localhost" || (ip != nil && ip.IsLoopback()) {
		settings.SetIncludeLoopbackCandidate(true)
		settings.SetIPFilter(net.IP.IsLoopback)
	}
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	if lossy != nil {
		registry.Add(lossy) // first, which is next to the wire: what is sent again can be lost again
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(registry)), nil
}
