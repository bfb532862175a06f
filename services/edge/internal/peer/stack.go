package peer

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	dtlselliptic "github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/sdp/v3"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"
)

// MaxWholeMessage is what the edge announces as the largest data channel message (RFC 8841); larger things come in chunks.
const MaxWholeMessage = 256 << 10

const (
	// sctpBuffer must be several messages, or a message longer than it could never be completed.
	sctpBuffer = 4 << 20
	// replayWindow is wider than the packets that are asked for again, so that a late retransmission is not taken for a replay.
	replayWindow = 4096
	// receiveMTU is larger than any path carries.
	receiveMTU = 1500
	// Media may come from so many sources at once; each may have another one for retransmissions.
	maxSources = 8
	maxStreams = 2 * maxSources
	// maxBegun bounds the tracks of a session's whole life.
	maxBegun = 64
)

// settings gives one session's settings. actpass tells that the client leaves the DTLS role to us: as the server we choose the SRTP
// profile, and AES-GCM costs a tenth of the browsers' first choice. newStream is told of every SRTP source before it can use memory, streamEnded
// when it uses none any more.
func (e *Endpoint) settings(actpass bool, newStream, streamEnded func()) (webrtc.SettingEngine, error) {
	s := webrtc.SettingEngine{LoggerFactory: e.logs}
	s.SetICEUDPMux(e.udp)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	if e.tcp != nil {
		s.SetICETCPMux(e.tcp)
		s.SetNetworkTypes([]webrtc.NetworkType{
			webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6,
		})
	}
	if e.cfg.Net != nil {
		s.SetNet(e.cfg.Net)
	}
	s.DisableActiveTCP(true)
	s.SetIncludeLoopbackCandidate(e.cfg.Loopback)
	s.SetIPFilter(func(ip net.IP) bool { return !ip.IsLinkLocalUnicast() })
	s.SetRemoteIPFilter(func(ip net.IP) bool { return reachable(ip, e.cfg.Loopback) })
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(disconnectedAfter, failedAfter, 2*time.Second)
	s.SetSrflxAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	if len(e.cfg.Addresses) > 0 {
		err := s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External: e.cfg.Addresses, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace,
		})
		if err != nil {
			return s, err
		}
	}
	if actpass {
		if err := s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer); err != nil {
			return s, err
		}
	}
	s.SetDTLSEllipticCurves(dtlselliptic.X25519, dtlselliptic.P384, dtlselliptic.P256)
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.SetSRTCPReplayProtectionWindow(replayWindow)
	s.SetReceiveMTU(receiveMTU)
	s.SetSCTPMaxMessageSize(MaxWholeMessage)
	s.SetSCTPMaxReceiveBufferSize(sctpBuffer)
	s.SetSCTPRTOMax(2 * time.Second)
	s.DetachDataChannels()
	s.EnableDataChannelBlockWrite(true)
	s.BufferFactory = func(kind packetio.BufferPacketType, _ uint32) io.ReadWriteCloser {
		newStream()
		return newPacketBuffer(kind, streamEnded)
	}
	return s, nil
}

// The ICE timers: a client that is silent is Disconnected after the first, gone after both together.
const (
	disconnectedAfter = 5 * time.Second
	failedAfter       = 15 * time.Second
)

// newPacketBuffer makes the buffer between the socket and one source's read loop. closed is called when it is closed, once.
func newPacketBuffer(kind packetio.BufferPacketType, closed func()) io.ReadWriteCloser {
	b := packetio.NewBuffer()
	if kind == packetio.RTCPBufferPacket {
		b.SetLimitSize(64 << 10)
	} else {
		b.SetLimitSize(1 << 20)
	}
	return packetBuffer{b, sync.OnceFunc(closed)}
}

// packetBuffer gives packetio.Buffer the shape that SRTP asks for.
type packetBuffer struct {
	*packetio.Buffer
	closed func()
}

func (b packetBuffer) Read(to []byte) (int, error) {
	n, _, err := b.Buffer.Read(to, nil)
	return n, err
}

func (b packetBuffer) Write(from []byte) (int, error) { return b.Buffer.Write(from, nil) }

// Close implements io.Closer.
func (b packetBuffer) Close() error {
	b.closed()
	return b.Buffer.Close()
}

// mediaStack gives what the edge says in answers about media, and the RTCP that pion answers with: receiver reports and transport-wide
// feedback. What is lost the tracks ask for themselves. The edge sends no media, so nothing is needed for that.
func mediaStack(logs logging.LoggerFactory) (*webrtc.MediaEngine, *interceptor.Registry, error) {
	m := &webrtc.MediaEngine{}
	for _, c := range codecs() {
		if err := m.RegisterCodec(c.parameters, c.kind); err != nil {
			return nil, nil, err
		}
	}
	// Without rotationURI, so that browsers turn pictures upright before they encode them.
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI, captureTimeURI} {
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, nil, err
			}
		}
	}
	registry := &interceptor.Registry{}
	reports, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(logs))
	if err != nil {
		return nil, nil, err
	}
	registry.Add(reports)
	return m, registry, webrtc.ConfigureTWCCSenderWithOptions(m, registry, twcc.WithLoggerFactory(logs))
}
