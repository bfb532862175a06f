package app

import "strings"

// The offers of this file are as their makers write them, shortened by codecs and extensions that change nothing.

const fingerprint = "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"

// obsOffer is libdatachannel's, as OBS uses it: no candidates, setup:actpass at the session.
const obsOffer = "v=0\r\no=rtc 3767197920 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=group:LS 0 1\r\na=msid-semantic:WMS *\r\n" +
	"a=setup:actpass\r\na=ice-ufrag:yaqB\r\na=ice-pwd:nrrEjU5IHMrXm7GLgNyEFe\r\na=ice-options:ice2,trickle\r\n" + fingerprint +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ssrc:3650021411 cname:obs\r\na=ssrc:3650021411 msid:obs obs-audio\r\n" +
	"a=msid:obs obs-audio\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\na=ssrc:3650021412 cname:obs\r\na=ssrc:3650021412 msid:obs obs-video\r\n" +
	"a=msid:obs obs-video\r\na=rtcp-mux\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n" +
	"a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n"

// ffmpegOffer is the WHIP muxer's: setup:passive, credentials in each media description.
const ffmpegOffer = "v=0\r\no=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1\r\ns=FFmpegPublishSession\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:a174b\r\na=ice-pwd:072ea30a5b6e7b8a6e5a4b3c2d1e0f9a\r\n" + fingerprint +
	"a=setup:passive\r\na=mid:0\r\na=sendonly\r\na=msid:FFmpeg audio\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:1 cname:FFmpeg\r\na=ssrc:1 msid:FFmpeg audio\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 106\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:a174b\r\na=ice-pwd:072ea30a5b6e7b8a6e5a4b3c2d1e0f9a\r\n" + fingerprint +
	"a=setup:passive\r\na=mid:1\r\na=sendonly\r\na=msid:FFmpeg video\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:106 H264/90000\r\n" +
	"a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\na=ssrc:2 cname:FFmpeg\r\na=ssrc:2 msid:FFmpeg video\r\n"

// gstreamerOffer is webrtcsink's: all candidates, mids that are words.
const gstreamerOffer = "v=0\r\no=- 6214014341834520867 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-options:trickle\r\na=group:BUNDLE video0\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=setup:actpass\r\na=ice-ufrag:ZDwvvyZsvTMC8XoQBrXhxA9mGmVpnmPb\r\na=ice-pwd:GKmBMpLYhW2ZTz1gHYw5gCXcA0xbZLrG\r\n" +
	"a=rtcp-mux\r\na=rtcp-rsize\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=ssrc-group:FID 2567203371 3512214310\r\na=ssrc:2567203371 msid:user video\r\na=ssrc:3512214310 msid:user video\r\na=mid:video0\r\n" + fingerprint +
	"a=candidate:1 1 UDP 2015363327 192.0.2.10 41567 typ host\r\na=candidate:2 1 TCP 1015021823 192.0.2.10 9 typ host tcptype active\r\na=end-of-candidates\r\n"

// browserOffer is a browser's with a data channel before its camera, everything bundled with that.
const browserOffer = "v=0\r\no=- 5228595038118931041 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n" +
	"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=ice-options:trickle\r\n" + fingerprint +
	"a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n" +
	"m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=ice-options:trickle\r\n" + fingerprint +
	"a=setup:actpass\r\na=mid:1\r\na=bundle-only\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\na=msid:- d46fb922-d52a-4e9c-aa87-444eadc1521b\r\n" +
	"a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=ssrc-group:FID 1001 1002\r\na=ssrc:1001 cname:x\r\na=ssrc:1002 cname:x\r\n"

// planB has two tracks in one media description, as browsers once did.
const planB = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE video\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n" +
	"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" + fingerprint + "a=setup:actpass\r\na=mid:video\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n" +
	"a=ssrc:1 msid:s one\r\na=ssrc:2 msid:s two\r\n"

func replaced(offer, old, with string) string { return strings.ReplaceAll(offer, old, with) }

func withCandidates(offer string, n int) string {
	return offer + strings.Repeat("a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n", n)
}
