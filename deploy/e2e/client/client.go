// Package client is a WHIP publisher for tests: one PeerConnection on one UDP socket of the loopback address. It goes through a session's life step by step, so that a test can
// break it off anywhere, and unlike a real client it can die without a word.
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// mtu is the largest RTP payload that is sent.
const mtu = 1200

// maxFeedback is the largest RTCP packet that is read.
const maxFeedback = 1500

// rtoMax bounds how long SCTP waits before it tries again after an outage.
const rtoMax = time.Second

// maxBody bounds what is read of an answer.
const maxBody = 256 << 10

// Options say what a client publishes and where.
type Options struct {
	// Edge is the edge's base address, http://host:port.
	Edge string
	// Models are asked for; none asks for all.
	Models []string
	// Video is the MIME type of a video track ("video/VP8"); empty for none.
	Video string
	// Opus adds a track of sound.
	Opus bool
	// Label names a data channel; empty for none. Protocol is that of its messages; empty leaves it to their first bytes.
	Label, Protocol string
	// Messages asks for a data channel that carries the session's messages; Bye needs it.
	Messages bool
	// OnMessage, if not nil, is called with everything that the edge sends on the data channels, from one goroutine for each of them.
	OnMessage func([]byte)
	// Live makes the data channels live ones: what is lost is not sent again, and nothing waits for it. Otherwise they are reliable.
	Live bool
	// Port is the UDP port to use; 0 takes any.
	Port int
	// Relay, if valid, is the only way to the edge: its media port is taken to be there, and the client's own address is kept from it.
	Relay netip.AddrPort
	// HTTP makes the requests.
	HTTP *http.Client
}

// Client is one publisher. Its steps are taken by one goroutine: New, Post, Accept, Connected; Kill and Close may come at any time after New, from that goroutine.
type Client struct {
	// Channel is the data channel, nil without a label.
	Channel *webrtc.DataChannel
	// ID is the session's public id, known after Post.
	ID string

	options   Options
	peer      *webrtc.PeerConnection
	video     *webrtc.TrackLocalStaticRTP
	payloader rtp.Payloader
	sequence  uint16
	sound     *webrtc.TrackLocalStaticRTP
	packets   uint16 // of sound
	socket    *socket
	mux       ice.UDPMux
	answer    string
	resource  string
	messages  *webrtc.DataChannel
	feedback  sync.WaitGroup // the readers of what the edge says about the tracks
	// ready close when media can flow and each data channel is open, failed when the connection has failed or was closed.
	ready  []chan struct{}
	failed chan struct{}
}

// New opens the socket and makes the connection's own side. Close must be called.
func New(options Options) (_ *Client, err error) {
	c := &Client{options: options, failed: make(chan struct{})}
	if c.socket, err = listen(options.Port); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	logs := &logging.DefaultLoggerFactory{Writer: io.Discard}
	c.mux = webrtc.NewICEUDPMux(logs.NewLogger("ice"), c.socket)
	settings := webrtc.SettingEngine{LoggerFactory: logs}
	settings.SetICEUDPMux(c.mux)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetSCTPRTOMax(rtoMax)
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err = engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err = webrtc.ConfigureNack(engine, registry); err != nil { // it sends again what it is asked for, as browsers do
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(registry))
	if c.peer, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return nil, err
	}
	c.watch()
	if options.Video != "" {
		if err = c.addVideo(); err != nil {
			return nil, err
		}
	}
	if options.Opus {
		opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
		if c.sound, err = c.addTrack("audio", opus); err != nil {
			return nil, err
		}
	}
	if options.Label != "" {
		if c.Channel, err = c.open(options.Label, options.Protocol); err != nil {
			return nil, err
		}
	}
	if options.Messages {
		if c.messages, err = c.open("messages", "sluice.v1+json"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// open creates a data channel, which Connected waits for.
func (c *Client) open(label, protocol string) (*webrtc.DataChannel, error) {
	init := &webrtc.DataChannelInit{Protocol: &protocol}
	if c.options.Live {
		init.Ordered, init.MaxRetransmits = new(false), new(uint16)
	}
	channel, err := c.peer.CreateDataChannel(label, init)
	if err != nil {
		return nil, err
	}
	if c.options.OnMessage != nil {
		channel.OnMessage(func(m webrtc.DataChannelMessage) { c.options.OnMessage(m.Data) })
	}
	opened := make(chan struct{})
	channel.OnOpen(func() { close(opened) })
	c.ready = append(c.ready, opened)
	return channel, nil
}

// watch turns the connection's states into two events.
func (c *Client) watch() {
	up, down, connected := false, false, make(chan struct{})
	c.ready = append(c.ready, connected)
	c.peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch {
		case s == webrtc.PeerConnectionStateConnected && !up:
			up = true
			close(connected)
		case (s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed) && !down:
			down = true
			close(c.failed)
		}
	})
}

func (c *Client) addVideo() (err error) {
	capability := webrtc.RTPCodecCapability{MimeType: c.options.Video, ClockRate: 90000}
	switch c.options.Video {
	case webrtc.MimeTypeVP8:
		c.payloader = &codecs.VP8Payloader{EnablePictureID: true}
	case webrtc.MimeTypeVP9:
		c.payloader, capability.SDPFmtpLine = &codecs.VP9Payloader{}, "profile-id=0"
	case webrtc.MimeTypeAV1:
		c.payloader = &codecs.AV1Payloader{}
	case webrtc.MimeTypeH264:
		c.payloader, capability.SDPFmtpLine = &codecs.H264Payloader{}, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	default:
		return fmt.Errorf("no payload format for %q", c.options.Video)
	}
	c.video, err = c.addTrack("video", capability)
	return err
}

func (c *Client) addTrack(name string, capability webrtc.RTPCodecCapability) (*webrtc.TrackLocalStaticRTP, error) {
	track, err := webrtc.NewTrackLocalStaticRTP(capability, name, "client")
	if err != nil {
		return nil, err
	}
	transceiver, err := c.peer.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	c.feedback.Go(func() { // joined by Close; pion answers requests only while somebody reads
		packet := make([]byte, maxFeedback)
		for {
			if _, _, err := transceiver.Sender().Read(packet); err != nil {
				return
			}
		}
	})
	return track, nil
}

// Post makes the offer and posts it. An answer other than 201 is an error.
func (c *Client) Post(ctx context.Context) error {
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
	sdp := c.peer.LocalDescription().SDP
	if c.options.Relay.IsValid() {
		sdp = regexp.MustCompile(`(?m)^a=candidate:.*\r\n`).ReplaceAllString(sdp, "")
	}
	endpoint := c.options.Edge + "/whip?" + url.Values{"model": c.options.Models}.Encode()
	response, body, err := c.do(ctx, http.MethodPost, endpoint, sdp) //nolint:bodyclose // do has read and closed it.
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST /whip: %s: %s", response.Status, body)
	}
	c.answer, c.resource = body, response.Header.Get("Location")
	for _, link := range response.Header.Values("Link") {
		if target, _, _ := strings.Cut(link, ">"); strings.HasSuffix(target, "/results") {
			c.ID = path.Base(path.Dir(target))
		}
	}
	if c.ID == "" || c.resource == "" {
		return errors.New("the edge's answer names no session")
	}
	return nil
}

// do makes a request and reads the whole answer; the response's body is closed.
func (c *Client) do(ctx context.Context, method, to, sdp string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader([]byte(sdp)))
	if err != nil {
		return nil, "", err
	}
	if sdp != "" {
		request.Header.Set("Content-Type", "application/sdp")
	}
	response, err := c.options.HTTP.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return response, string(body), err
}

// Accept takes the edge's answer; from here on packets travel.
func (c *Client) Accept() error {
	answer := c.answer
	if r := c.options.Relay; r.IsValid() {
		// RFC 8839 section 5.1: foundation, component, transport, priority, then address and port.
		candidate := regexp.MustCompile(`(a=candidate:\S+ \d+ udp \d+ )(\S+) (\d+)( typ)`)
		answer = candidate.ReplaceAllString(answer, fmt.Sprintf("${1}%s %d${4}", r.Addr(), r.Port()))
	}
	return c.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

// Connected waits until media and messages can flow.
func (c *Client) Connected(ctx context.Context) error {
	for _, event := range c.ready {
		select {
		case <-event:
		case <-c.failed:
			return errors.New("the connection failed")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Failed is closed when the connection has failed or was closed by the edge.
func (c *Client) Failed() <-chan struct{} { return c.failed }

// Port is the local UDP port.
func (c *Client) Port() int { return c.socket.port() }

// SendPicture sends a compressed picture: a VP8 or VP9 frame, an H.264 access unit in Annex B, or an AV1 temporal unit.
func (c *Client) SendPicture(picture []byte, timestamp uint32) error {
	payloads := c.payloader.Payload(mtu, picture)
	for i, payload := range payloads {
		c.sequence++
		packet := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: i == len(payloads)-1, SequenceNumber: c.sequence, Timestamp: timestamp}, Payload: payload}
		if err := c.video.WriteRTP(packet); err != nil {
			return err
		}
	}
	return nil
}

// SendSound sends a packet of Opus.
func (c *Client) SendSound(packet []byte, timestamp uint32) error {
	c.packets++
	return c.sound.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: c.packets == 1, SequenceNumber: c.packets, Timestamp: timestamp}, Payload: packet})
}

// Flood opens data channels until it has opened count or the connection refuses.
func (c *Client) Flood(count int) {
	for i := range count {
		if _, err := c.peer.CreateDataChannel(fmt.Sprint("flood", i), nil); err != nil {
			return
		}
	}
}

// Bye tells the edge on the message channel that the client has done; the edge finishes what is in flight and says how the session ended.
func (c *Client) Bye() error { return c.messages.SendText(`{"bye":{}}`) }

// Delete ends the session as WHIP says; one that has ended already is no error.
func (c *Client) Delete(ctx context.Context) error {
	response, body, err := c.do(ctx, http.MethodDelete, c.resource, "") //nolint:bodyclose // do has read and closed it.
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 && response.StatusCode != http.StatusNotFound {
		return fmt.Errorf("DELETE: %s: %s", response.Status, body)
	}
	return nil
}

// Resource is the address that controls the session, known after Post.
func (c *Client) Resource() string { return c.resource }

// Kill cuts the client off: nothing that it says from now on reaches the edge, not even that it goes.
func (c *Client) Kill() { c.socket.silent.Store(true) }

// Close frees the client; unless it was killed, the edge is told by DTLS. It may be called once.
func (c *Client) Close() {
	if c.peer != nil {
		_ = c.peer.GracefulClose() // A connection that does not close cleanly is what some tests are about.
		c.feedback.Wait()
	}
	if c.mux != nil {
		_ = c.mux.Close()
	}
	_ = c.socket.Close()
}
