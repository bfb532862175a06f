// Package publish sends encoded video to a WHIP endpoint the way a browser does: with retransmissions (RFC 4588), transport-wide sequence numbers, sender reports and a pacer.
package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

const (
	clockRate    = 90000 // ticks a second, of every video payload format
	mtu          = 1200
	payloadType  = 96
	connectLimit = 20 * time.Second
	// pacing is how much faster than the stream's rate packets leave, as in browsers.
	pacing = 2.5
	// queue is how many packets may wait for the pacer.
	queue = 4096
)

// Config says where and how to publish.
type Config struct {
	// Endpoint is the WHIP endpoint with its query.
	Endpoint string
	// Codec is vp8, h264, vp9 or av1.
	Codec string
	// Address is the only local address that takes part.
	Address net.IP
	// Rate is the stream's, in bits a second, for the pacer; with 0 packets leave at once.
	Rate int
	// Path, unless nil, is given the answer and gives it back with the candidates to use. The offer then has none, so that there is no other path.
	Path func(answer string) (string, error)
}

// Publisher is one connection with one video track. Send is called from one goroutine; the rest is safe for concurrent use.
type Publisher struct {
	cfg       Config
	peer      *webrtc.PeerConnection
	track     *webrtc.TrackLocalStaticRTP
	sender    *webrtc.RTPSender
	resource  string
	results   string
	payloader rtp.Payloader
	sequencer rtp.Sequencer
	packets   chan *rtp.Packet
	key       atomic.Bool
	requests  atomic.Uint64
	closing   chan struct{}
	loops     sync.WaitGroup
	failed    chan struct{} // closed when the connection is lost
}

// Connect publishes and waits until media can flow. The publisher must be closed.
func Connect(ctx context.Context, cfg Config) (_ *Publisher, err error) {
	mime, format, payloader, err := describe(cfg.Codec)
	if err != nil {
		return nil, err
	}
	api, err := newAPI(cfg, mime, format)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		cfg: cfg, payloader: payloader, sequencer: rtp.NewRandomSequencer(),
		packets: make(chan *rtp.Packet, queue), closing: make(chan struct{}), failed: make(chan struct{}),
	}
	if p.peer, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return nil, err
	}
	defer func() { //nolint:contextcheck // the session is ended also when ctx is what ended
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	capability := webrtc.RTPCodecCapability{MimeType: mime, ClockRate: clockRate, SDPFmtpLine: format}
	if p.track, err = webrtc.NewTrackLocalStaticRTP(capability, "video", "bench"); err != nil {
		return nil, err
	}
	transceiver, err := p.peer.AddTransceiverFromTrack(p.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	p.sender = transceiver.Sender()
	up := p.watch()
	if err := p.negotiate(ctx); err != nil {
		return nil, err
	}
	limit := time.NewTimer(connectLimit)
	defer limit.Stop()
	select {
	case <-up:
	case <-p.failed:
		return nil, errors.New("the connection failed")
	case <-limit.C:
		return nil, fmt.Errorf("no connection within %s", connectLimit)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.loops.Go(p.readReports)
	p.loops.Go(p.pace)
	return p, nil
}

func describe(codec string) (mime, format string, payloader rtp.Payloader, err error) {
	switch codec {
	case "vp8":
		return webrtc.MimeTypeVP8, "", &codecs.VP8Payloader{EnablePictureID: true}, nil
	case "h264":
		return webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", &codecs.H264Payloader{}, nil
	case "vp9":
		return webrtc.MimeTypeVP9, "profile-id=0", &codecs.VP9Payloader{}, nil
	case "av1":
		return webrtc.MimeTypeAV1, "profile=0", &codecs.AV1Payloader{}, nil
	default:
		return "", "", nil, fmt.Errorf("unknown codec %q: vp8, h264, vp9 and av1 are known", codec)
	}
}

func newAPI(cfg Config, mime, format string) (*webrtc.API, error) {
	engine := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: clockRate, SDPFmtpLine: format, RTCPFeedback: feedback}, PayloadType: payloadType},
		{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: clockRate, SDPFmtpLine: fmt.Sprintf("apt=%d", payloadType)},
			PayloadType:        payloadType + 1,
		},
	} {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	registry := &interceptor.Registry{}
	for _, add := range []func(*webrtc.MediaEngine, *interceptor.Registry) error{
		webrtc.ConfigureNack, webrtc.ConfigureTWCCHeaderExtensionSender,
		func(_ *webrtc.MediaEngine, r *interceptor.Registry) error { return webrtc.ConfigureRTCPReports(r) },
	} {
		if err := add(engine, registry); err != nil {
			return nil, err
		}
	}
	settings := webrtc.SettingEngine{}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIncludeLoopbackCandidate(cfg.Address.IsLoopback())
	settings.SetIPFilter(cfg.Address.Equal)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings)), nil
}

// watch turns the connection's states into two events.
func (p *Publisher) watch() (up <-chan struct{}) {
	connected := make(chan struct{})
	var once, lost sync.Once
	p.peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			lost.Do(func() { close(p.failed) })
		default:
		}
	})
	return connected
}

// candidates are the lines of SDP that name addresses.
var candidates = regexp.MustCompile(`(?m)^a=(candidate:|end-of-candidates).*\r?\n`)

// WithCandidate gives SDP with one UDP candidate in place of its own.
func WithCandidate(sdp, host string, port uint16) string {
	line := fmt.Sprintf("a=candidate:1 1 udp 2130706431 %s %d typ host\r\na=end-of-candidates\r\n", host, port)
	// Everything is bundled, so the first media description is the only one, or the one that counts.
	return strings.TrimRight(candidates.ReplaceAllString(sdp, ""), "\r\n") + "\r\n" + line
}

func (p *Publisher) negotiate(ctx context.Context) error {
	offer, err := p.peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(p.peer)
	if err := p.peer.SetLocalDescription(offer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	sdp := p.peer.LocalDescription().SDP
	if p.cfg.Path != nil {
		sdp = candidates.ReplaceAllString(sdp, "")
	}
	answer, err := p.post(ctx, sdp)
	if err != nil {
		return err
	}
	if p.cfg.Path != nil {
		if answer, err = p.cfg.Path(answer); err != nil {
			return err
		}
	}
	if err := p.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("the answer cannot be used: %w", err)
	}
	return nil
}

func (p *Publisher) post(ctx context.Context, offer string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.Endpoint, strings.NewReader(offer))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/sdp")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("WHIP: %s: %s", response.Status, body)
	}
	location, err := response.Location()
	if err != nil {
		return "", fmt.Errorf("WHIP: %w", err)
	}
	p.resource, p.results = location.String(), resultsOf(response.Header)
	return string(body), nil
}

// SSRC is the track's source.
func (p *Publisher) SSRC() uint32 { return uint32(p.sender.GetParameters().Encodings[0].SSRC) }

// Retransmits tells whether retransmissions have a source of their own (RFC 4588).
func (p *Publisher) Retransmits() bool { return p.sender.GetParameters().Encodings[0].RTX.SSRC != 0 }

// KeyWanted tells whether a key frame has been asked for since it was called last.
func (p *Publisher) KeyWanted() bool { return p.key.Swap(false) }

// Requests is how many requests for key frames arrived.
func (p *Publisher) Requests() uint64 { return p.requests.Load() }

// Send cuts an access unit into packets and hands them to the pacer.
func (p *Publisher) Send(unit []byte, timestamp uint32) error {
	payloads := p.payloader.Payload(mtu, unit)
	for i, payload := range payloads {
		packet := &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: i == len(payloads)-1, SequenceNumber: p.sequencer.NextSequenceNumber(), Timestamp: timestamp},
			Payload: payload,
		}
		select {
		case p.packets <- packet:
		case <-p.failed:
			return errors.New("the connection was lost")
		default:
			return errors.New("the pacer cannot keep up: the machine is too busy")
		}
	}
	return nil
}

// pace lets packets leave.
func (p *Publisher) pace() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var next time.Time
	for {
		select {
		case <-p.closing:
			return
		case packet := <-p.packets:
			if wait := time.Until(next); p.cfg.Rate > 0 && wait > 0 {
				timer.Reset(wait)
				select {
				case <-p.closing:
					return
				case <-timer.C:
				}
			}
			if now := time.Now(); next.Before(now) {
				next = now
			}
			if p.cfg.Rate > 0 {
				next = next.Add(time.Duration(float64(len(packet.Payload)*8) / (pacing * float64(p.cfg.Rate)) * float64(time.Second)))
			}
			_ = p.track.WriteRTP(packet) // a connection that is gone shows in failed
		}
	}
}

// readReports takes the receiver's feedback; pion's interceptors answer requests for packets on the way.
func (p *Publisher) readReports() {
	for {
		packets, _, err := p.sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			switch packet.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.requests.Add(1)
				p.key.Store(true)
			}
		}
	}
}

// Close ends the session and joins what Connect started.
func (p *Publisher) Close() error {
	close(p.closing)
	var failures []error
	if p.resource != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodDelete, p.resource, http.NoBody)
		if err == nil {
			var response *http.Response
			if response, err = http.DefaultClient.Do(request); err == nil {
				err = response.Body.Close()
			}
		}
		failures = append(failures, err)
	}
	failures = append(failures, p.peer.GracefulClose())
	p.loops.Wait()
	return errors.Join(failures...)
}
