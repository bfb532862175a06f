package peer

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// whip is an offer as FFmpeg makes it, but for the codecs' details.
const whip = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n" + credentials + "a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:1 cname:x\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 106\r\nc=IN IP4 0.0.0.0\r\n" + credentials + "a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:106 H264/90000\r\na=ssrc:2 cname:x\r\n"

const credentials = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:passive\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"

const messagesOnly = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE d\r\n" +
	"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\na=sctp-port:5000\r\n"

type offerCase struct {
	name, sdp string
	reason    error  // nil: accepted
	says      string // part of the refusal
}

func offerCases() []offerCase {
	replaced := func(old, with string) string { return strings.ReplaceAll(whip, old, with) }
	candidate := func(address string) string {
		return "a=candidate:1 1 UDP 2130706431 " + address + " 40000 typ host\r\n"
	}
	return []offerCase{
		{"as FFmpeg", whip, nil, ""},
		{"messages only", messagesOnly + strings.ReplaceAll(credentials, "passive", "actpass"), nil, ""},
		{"empty", "", ErrMalformed, "not SDP"},
		{"HTML", "<html>", ErrMalformed, "not SDP"},
		{"no media", "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", ErrNothingSent, "sends nothing"},
		{"huge", whip + strings.Repeat("a=x\r\n", MaxOffer/5), ErrTooLarge, "bytes"},
		{"long line", whip + "a=" + strings.Repeat("x", maxLine) + "\r\n", ErrTooLarge, "line"},
		{"receives only", replaced("a=sendonly", "a=recvonly"), ErrNothingSent, "offer sendonly"},
		{"inactive", replaced("a=sendonly", "a=inactive"), ErrNothingSent, "sends nothing"},
		{"codec that is not taken", replaced("H264", "H263"), ErrUnsupportedCodec, "VP8, H264, VP9, AV1, H265"},
		{"sound that is not taken", replaced("opus", "speex"), ErrUnsupportedCodec, "opus, G722, PCMU, PCMA"},
		{"H.265", replaced("H264", "H265"), nil, ""},
		{"telephone sound", replaced("opus/48000/2", "PCMU/8000"), nil, ""},
		{"sound without a name", replaced("SAVPF 111", "SAVPF 8"), nil, ""},
		{"layers", whip + "a=rid:f send max-width=1280;max-height=720\r\na=rid:q send\r\na=simulcast:send f;~q\r\n", nil, ""},
		{"two tracks in one description", replaced("a=ssrc:2 cname:x\r\n", "a=ssrc:2 cname:x\r\na=ssrc:3 cname:x\r\n"), ErrMalformed, "Plan B"},
		{"one source twice", replaced("a=ssrc:2", "a=ssrc:1"), ErrMalformed, "claim one source"},
		{"two tracks in one that is switched off", strings.ReplaceAll(whip+"a=ssrc:3 cname:x\r\n", "m=video 9", "m=video 0"), ErrMalformed, "Plan B"},
		{"a track and what repairs it", whip + "a=ssrc-group:FID 2 3\r\na=ssrc:3 cname:x\r\na=ssrc:4 cname:x\r\na=ssrc-group:FEC-FR 2 4\r\n", nil, ""},
		{"layers with their sources", whip + "a=msid:a b\r\na=rid:f send\r\na=rid:q send\r\na=simulcast:send f;q\r\na=ssrc:3 cname:x\r\n", nil, ""},
		{"unknown kind", replaced("m=video", "m=text"), ErrUnsupportedCodec, `"text"`},
		{"keys in the clear", whip + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n", ErrMalformed, "a=crypto"},
		{"no fingerprint", replaced("a=fingerprint", "a=x"), ErrMalformed, "fingerprint"},
		{"weak fingerprint", replaced("sha-256", "md5"), ErrMalformed, "weak"},
		{"no credentials", replaced("a=ice-ufrag", "a=x"), ErrMalformed, "credentials"},
		{"no names", replaced("a=mid:1", "a=x:1"), ErrMalformed, "a=mid"},
		{"one name twice", replaced("a=mid:1", "a=mid:0"), ErrMalformed, "a=mid"},
		{"no bundle", replaced("a=group:BUNDLE 0 1", "a=x:1"), ErrMalformed, "BUNDLE"},
		{"half a bundle", replaced("BUNDLE 0 1", "BUNDLE 0"), ErrMalformed, "BUNDLE"},
		{"bundle led by nobody", replaced("BUNDLE 0 1", "BUNDLE 7 0 1"), ErrMalformed, "BUNDLE"},
		{"64 candidates", whip + strings.Repeat(candidate("192.0.2.1"), 64), nil, ""},
		{"65 candidates", whip + strings.Repeat(candidate("192.0.2.1"), 65), ErrTooLarge, "candidates"},
		{"33 media descriptions", whip + strings.Repeat("m=video 0 UDP/TLS/RTP/SAVPF 0\r\n", 31), ErrTooLarge, "media descriptions"},
		{"9 tracks", manyTracks(9), ErrTooLarge, "tracks"},
		{"8 tracks", manyTracks(8), nil, ""},
	}
}

func manyTracks(n int) string {
	head, group := "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "a=group:BUNDLE"
	var tracks strings.Builder
	for i := range n {
		group += fmt.Sprintf(" %d", i)
		fmt.Fprintf(&tracks, "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:%d\r\na=rtpmap:96 VP8/90000\r\n", i)
	}
	return head + group + "\r\n" + credentials + tracks.String()
}

func TestCheckOffer(t *testing.T) {
	t.Parallel()
	for _, c := range offerCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := checkOffer(c.sdp, false)
			var refused *RefusedOffer
			switch {
			case c.reason == nil && err != nil:
				t.Errorf("refused: %v", err)
			case c.reason == nil:
			case !errors.Is(err, c.reason) || !errors.As(err, &refused) || !strings.Contains(refused.Detail, c.says):
				t.Errorf("got %v, want %v saying %q", err, c.reason, c.says)
			}
		})
	}
}

func TestCheckOfferTellsWhatTheEdgeNeeds(t *testing.T) {
	t.Parallel()
	o, err := checkOffer(whip, false)
	if err != nil || o.actpass || o.messages || o.ufrag != "abcd" {
		t.Errorf("WHIP: %+v, %v", o, err)
	}
	o, err = checkOffer(messagesOnly+strings.ReplaceAll(credentials, "passive", "actpass"), false)
	if err != nil || !o.actpass || !o.messages {
		t.Errorf("messages: %+v, %v", o, err)
	}
}

func TestHostileCandidatesAreTakenOutOfAnOffer(t *testing.T) {
	t.Parallel()
	for address, kept := range map[string]bool{
		"192.0.2.7": true, "10.1.2.3": true, "2001:db8::1": true, "fd00::1": true,
		"169.254.169.254": false, "fe80::1": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"0.0.0.0": false, "::": false, "127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false,
		"5f2d8c1e-0000-4000-8000-000000000000.local": false, "internal.svc": false, "localhost": false,
	} {
		line := "a=candidate:1 1 UDP 2130706431 " + address + " 40000 typ host\r\n"
		o, err := checkOffer(whip+line, false)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(o.sdp, line) != kept || o.candidates != 1 {
			t.Errorf("%s: kept %v, want %v", address, !kept, kept)
		}
	}
	if !admitCandidate("candidate:1 1 UDP 2130706431 127.0.0.1 40000 typ host", true) {
		t.Error("loopback is refused although it is wanted")
	}
}

// A track is taken back by an offer that sends nothing in its place; only the first offer has to send something.
func TestALaterOfferMaySendNothing(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"a=recvonly", "a=inactive"} {
		idle := strings.ReplaceAll(whip, "a=sendonly", direction)
		if o, err := checkLaterOffer(idle, false); err != nil || o.ufrag == "" {
			t.Errorf("%s: %v", direction, err)
		}
		if _, err := checkOffer(idle, false); !errors.Is(err, ErrNothingSent) {
			t.Errorf("%s at first: %v", direction, err)
		}
	}
}

func FuzzCheckOffer(f *testing.F) {
	for _, c := range offerCases() {
		f.Add(c.sdp)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := checkOffer(text, false)
		var refused *RefusedOffer
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("an error of another kind: %v", err)
		}
		if err == nil && (o.ufrag == "" || o.candidates > maxCandidates || len(o.sdp) > len(text)) {
			t.Fatalf("accepted: %+v", o)
		}
		if answer := o.turnDown(text, []media.PictureInput{{Width: 9, Height: 9, Fit: media.Crop}}); len(answer) > len(text) {
			t.Fatalf("an answer grew from %q to %q", text, answer)
		}
	})
}
