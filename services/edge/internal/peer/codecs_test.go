package peer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The offers in testdata are those of real clients, as they came.
func TestOffersOfRealClientsAreAnswered(t *testing.T) {
	sound := []string{"opus/48000/2", "G722/8000", "PCMU/8000", "PCMA/8000", "minptime=10;useinbandfec=1\r\n"}
	for file, want := range map[string][]string{
		"chromium.sdp":           append([]string{"VP8/90000", "H264/90000", "VP9/90000", "AV1/90000", "rtx/90000"}, sound...),
		"chromium-simulcast.sdp": append([]string{"VP8/90000", "a=rid:q recv", "a=rid:h recv", "a=rid:f recv", "a=simulcast:recv q;h;f"}, sound...),
		"aiortc.sdp":             append([]string{"VP8/90000", "H264/90000", "rtx/90000"}, sound...),
	} {
		t.Run(file, func(t *testing.T) {
			offer, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			answer := answerTo(t, string(offer))
			for _, w := range want {
				if !strings.Contains(answer, w) {
					t.Errorf("the answer lacks %q", w)
				}
			}
			if strings.Contains(answer, "video-orientation") || strings.Contains(answer, "red/") || strings.Contains(answer, "packetization-mode=0") {
				t.Error("the answer takes what the edge cannot use")
			}
			if len(answer) > 8192 {
				t.Errorf("the answer has %d bytes; FFmpeg takes 8192", len(answer))
			}
		})
	}
}

func TestAnswersSayWhatTheEdgeAsksFor(t *testing.T) {
	for _, c := range []struct {
		name, offer string
		has, lacks  []string
	}{
		{
			name:  "Opus first, in one channel with correction of losses",
			offer: strings.Replace(whip, "SAVPF 111", "SAVPF 0 8 111", 1),
			has:   []string{"m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\n", "a=fmtp:111 minptime=10;useinbandfec=1\r\n"},
		},
		{
			name:  "Opus, whatever the offer says about it",
			offer: strings.Replace(whip, "opus/48000/2\r\n", "opus/48000/2\r\na=fmtp:111 stereo=1;sprop-stereo=1;useinbandfec=0\r\na=rtpmap:9 G722/8000\r\n", 1),
			has:   []string{"a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1\r\n"}, lacks: []string{"stereo"},
		},
		{
			name: "H.265 up to 1080p, with retransmissions",
			offer: strings.Replace(whip, "a=rtpmap:106 H264/90000\r\n",
				"a=rtpmap:106 H265/90000\r\na=fmtp:106 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST\r\na=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\n", 1),
			has: []string{"a=rtpmap:106 H265/90000", "a=fmtp:106 level-id=123;profile-id=1;tier-flag=0;tx-mode=SRST\r\n"},
		},
		{
			name:  "H.265 of another profile is not taken for what it is not",
			offer: strings.Replace(whip, "a=rtpmap:106 H264/90000\r\n", "a=rtpmap:106 H265/90000\r\na=fmtp:106 level-id=93; profile-id=2\r\n", 1),
			has:   []string{"a=fmtp:106 level-id=93; profile-id=2\r\n"}, lacks: []string{"profile-id=1"},
		},
		{
			name:  "static payload types need no name",
			offer: strings.Replace(strings.Replace(whip, "SAVPF 111", "SAVPF 0 8 9", 1), "a=rtpmap:111 opus/48000/2\r\n", "", 1),
			has:   []string{"m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9\r\n"},
		},
		{
			name: "capture times",
			offer: strings.ReplaceAll(whip, "a=rtcp-mux\r\n",
				"a=rtcp-mux\r\na=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\na=extmap:8 urn:3gpp:video-orientation\r\n"),
			has: []string{"a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"}, lacks: []string{"video-orientation"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := answerTo(t, c.offer)
			for _, want := range c.has {
				if !strings.Contains(answer, want) {
					t.Errorf("the answer lacks %q:\n%s", want, answer)
				}
			}
			for _, unwanted := range c.lacks {
				if strings.Contains(answer, unwanted) {
					t.Errorf("the answer has %q", unwanted)
				}
			}
		})
	}
}

func answerTo(t *testing.T, offer string) string {
	t.Helper()
	e, err := Listen(Config{UDP: "127.0.0.1:0", Loopback: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	p, answer, err := e.Answer(t.Context(), offer, nil, nil, silent{})
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	return answer
}

func TestCaptureTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extension []byte
		want      uint64
	}{
		"none":           {nil, 0},
		"cut off":        {[]byte{1, 2, 3, 4, 5, 6, 7}, 0},
		"alone":          {[]byte{1, 2, 3, 4, 5, 6, 7, 8}, 0x0102030405060708},
		"zero":           {make([]byte, 8), 0},
		"a clock ahead":  {[]byte{0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0}, 7<<32 | 1},
		"a clock behind": {[]byte{0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 10<<32 | 1},
		"half an offset": {[]byte{0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff}, 9<<32 | 1},
	} {
		if got := captureTime(c.extension); got != c.want {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		extension []byte
		degrees   uint16
		ok        bool
	}{
		{[]byte{0}, 0, true}, {[]byte{1}, 90, true}, {[]byte{2}, 180, true}, {[]byte{3}, 270, true},
		{[]byte{0x0d}, 90, true}, // of the back camera, mirrored
		{nil, 0, false}, {[]byte{}, 0, false}, {[]byte{1, 0}, 0, false},
	} {
		if degrees, ok := rotation(c.extension); degrees != c.degrees || ok != c.ok {
			t.Errorf("% x: %d, %v, want %d, %v", c.extension, degrees, ok, c.degrees, c.ok)
		}
	}
	for line, want := range map[string]uint8{
		"": 0, "a=extmap:4 urn:3gpp:video-orientation\r\n": 4, "a=extmap:4/sendonly urn:3gpp:video-orientation\r\n": 4,
		"a=extmap:4 urn:other\r\n": 0, "a=extmap:400 urn:3gpp:video-orientation\r\n": 0, "a=extmap:x urn:3gpp:video-orientation\r\n": 0,
	} {
		if o, err := checkOffer(whip+line, false); err != nil || o.rotation != want {
			t.Errorf("%q: extension %d, %v, want %d", line, o.rotation, err, want)
		}
	}
}
