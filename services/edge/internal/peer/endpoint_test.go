package peer

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/transport/v5/vnet"
	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestListenNamesTheKeyOfWhatIsWrong(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, c := range []struct {
		name string
		cfg  Config
		says []string
	}{
		{"UDP port taken", Config{UDP: udp.LocalAddr().String()}, []string{"ice.udp", "taken", udp.LocalAddr().String()}},
		{"TCP port taken", Config{UDP: "127.0.0.1:0", TCP: tcp.Addr().String()}, []string{"ice.tcp", "taken", tcp.Addr().String()}},
		{"no port", Config{UDP: "127.0.0.1"}, []string{"ice.udp", `":8189"`}},
		{"a name", Config{UDP: "example.com:1"}, []string{"ice.udp", "IP address"}},
		{"not ours", Config{UDP: "192.0.2.1:0"}, []string{"ice.udp", "no address"}},
		{"bad address", Config{UDP: "127.0.0.1:0", Addresses: []string{"edge.example"}}, []string{"ice.addresses", "edge.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Logger, c.cfg.Loopback = quiet(), true
			e, err := Listen(c.cfg)
			if err == nil {
				_ = e.Close()
				t.Fatal("it listens")
			}
			for _, word := range c.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

func TestOneSocketForEachAddressOnePortForAll(t *testing.T) {
	router, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "10.0.0.0/24", LoggerFactory: pionLogs{quiet()}})
	if err != nil {
		t.Fatal(err)
	}
	host, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{"10.0.0.5", "10.0.0.6"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := router.AddNet(host); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		listen   string
		loopback bool
		want     string
	}{
		{":8189", false, "10.0.0.5:8189 10.0.0.6:8189"},
		{"0.0.0.0:8189", true, "10.0.0.5:8189 10.0.0.6:8189 127.0.0.1:8189"},
		{"10.0.0.6:8189", true, "10.0.0.6:8189"},
	} {
		e, err := Listen(Config{UDP: c.listen, Loopback: c.loopback, Net: host, Logger: quiet()})
		if err != nil {
			t.Errorf("%s: %v", c.listen, err)
			continue
		}
		var got []string
		for _, a := range e.Addresses() {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.listen, got, c.want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// silent is a session that does not care.
type silent struct{}

func (silent) Track(*Track)                    {}
func (silent) Channel(*Channel)                {}
func (silent) State(State)                     {}
func (silent) SenderReport(media.SenderReport) {}
func (silent) Violation(string)                {}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, offer string
		addresses   []string
		has, lacks  []string
	}{
		{
			name: "the host's addresses, UDP and TCP on one number", offer: whip,
			has:   []string{" 127.0.0.1 %d typ host", "tcptype passive", "a=setup:active", "a=recvonly", "a=rtpmap:106 H264/90000", "a=rtpmap:111 opus/48000/2"},
			lacks: []string{".local"},
		},
		{
			name: "VP9", offer: strings.Replace(whip, "a=rtpmap:106 H264/90000", "a=rtpmap:106 VP9/90000\r\na=fmtp:106 profile-id=0\r\na=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106", 1),
			has: []string{"a=rtpmap:106 VP9/90000", "a=fmtp:106 profile-id=0"},
		},
		{
			name: "AV1", offer: strings.Replace(whip, "a=rtpmap:106 H264/90000", "a=rtpmap:106 AV1/90000\r\na=fmtp:106 level-idx=5;profile=0;tier=0", 1),
			has: []string{"a=rtpmap:106 AV1/90000", "profile=0"},
		},
		{
			name: "an address for the outside", offer: whip, addresses: []string{"203.0.113.9"},
			has: []string{" 203.0.113.9 %d typ host"}, lacks: []string{"127.0.0.1 "},
		},
		{
			name: "the server's role where the client leaves it open", offer: strings.ReplaceAll(whip, "passive", "actpass"),
			has: []string{"a=setup:passive"},
		},
		{
			name: "messages", offer: messagesOnly + strings.ReplaceAll(credentials, "passive", "actpass"),
			has: []string{"a=sctp-port:5000", "a=max-message-size:262144"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := freePort(t)
			e, err := Listen(Config{UDP: port, TCP: port, Loopback: true, Addresses: c.addresses, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			p, answer, err := e.Answer(t.Context(), c.offer, nil, nil, silent{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			number := netip.MustParseAddrPort(port).Port()
			for _, want := range c.has {
				if want = strings.ReplaceAll(want, "%d", netip.AddrPortFrom(netip.IPv4Unspecified(), number).String()[len("0.0.0.0:"):]); !strings.Contains(answer, want) {
					t.Errorf("the answer lacks %q", want)
				}
			}
			for _, unwanted := range c.lacks {
				if strings.Contains(strings.ReplaceAll(answer, "o=- ", ""), unwanted) {
					t.Errorf("the answer has %q", unwanted)
				}
			}
			if len(answer) > 8192 {
				t.Errorf("the answer has %d bytes; FFmpeg takes 8192", len(answer))
			}
		})
	}
}

// freePort gives an address of this host whose port is free for UDP and TCP, most likely.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAnOfferThatOnlyNamesACodecIsRefusedByItsParameters(t *testing.T) {
	e, err := Listen(Config{UDP: "127.0.0.1:0", Loopback: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	p, _, err := e.Answer(t.Context(), strings.ReplaceAll(whip, "opus/48000/2", "opus/8000"), nil, nil, silent{})
	if !errors.Is(err, ErrUnsupportedCodec) {
		t.Errorf("opus at 8 kHz: %v", err)
	}
	if err == nil {
		p.Close()
	}
}

func TestAnOfferInPlanBIsRefusedAsTheClientsMistake(t *testing.T) {
	e, err := Listen(Config{UDP: "127.0.0.1:0", Loopback: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	p, _, err := e.Answer(t.Context(), strings.Replace(whip, "a=ssrc:1 cname:x\r\n", "a=ssrc:1 cname:x\r\na=ssrc:3 cname:x\r\n", 1), nil, nil, silent{})
	if !errors.Is(err, ErrMalformed) {
		t.Errorf("two tracks in one media description: %v", err)
	}
	if err == nil {
		p.Close()
	}
}

// pion cannot take an offer back, so a later offer is answered in any case: the answer itself says what is turned down.
func TestALaterOfferWithACodecInNameOnlyLeavesTheConnectionUsable(t *testing.T) {
	e, err := Listen(Config{UDP: "127.0.0.1:0", Loopback: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	session, tracks, _ := strings.Cut(whip, "m=audio")
	audio, video, _ := strings.Cut(tracks, "m=video")
	first := strings.Replace(session, "BUNDLE 0 1", "BUNDLE 1", 1) + "m=video" + video
	added := strings.Replace(session, "BUNDLE 0 1", "BUNDLE 1 0", 1) + "m=video" + video + "m=audio" + audio
	p, _, err := e.Answer(t.Context(), first, nil, nil, silent{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	answer, err := p.Renegotiate(t.Context(), strings.Replace(added, "opus/48000/2", "opus/8000", 1), nil)
	if err != nil || !strings.Contains(answer, "m=audio 0 ") {
		t.Errorf("another track, with opus at 8 kHz: %v, answered with\n%s", err, answer)
	}
	if _, err = p.Renegotiate(t.Context(), added, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// violations counts what a client is blamed for.
type violations struct {
	silent
	n int
}

func (v *violations) Violation(string) { v.n++ }

func TestSourcesAreCountedBeforeTheyCostMemory(t *testing.T) {
	t.Parallel()
	v := &violations{}
	p := &Peer{events: v}
	for range 2 * maxStreams { // RTP and RTCP
		p.newStream()
	}
	for range 100 { // one source after the other
		p.streamEnded()
		p.newStream()
	}
	if v.n != 0 {
		t.Error("the allowed number is too much")
	}
	for range 1000 {
		p.newStream()
	}
	if v.n != 1 {
		t.Errorf("a flood is told %d times", v.n)
	}
}
