package peer

import "testing"

func TestPreferredFirst(t *testing.T) {
	const (
		tcp   = "a=candidate:2420109961 1 tcp 1671430143 10.77.0.1 29841 typ host tcptype passive ufrag u generation 0\r\n"
		udp   = "a=candidate:4234997325 1 udp 2130706431 10.77.0.1 29841 typ host ufrag u generation 0\r\n"
		other = "a=candidate:4234997326 1 udp 2130706431 10.77.0.2 29841 typ host ufrag u generation 0\r\n"
		head  = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
		tail  = "a=end-of-candidates\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
	)
	for _, c := range []struct{ name, description, want string }{
		{"nothing", "", ""},
		{"no candidates", head + tail, head + tail},
		{"one", head + tcp + tail, head + tcp + tail},
		{"in order", head + udp + tcp + tail, head + udp + tcp + tail},
		{"TCP first", head + tcp + udp + tail, head + udp + tcp + tail},
		{"equals stay", head + tcp + other + udp + tail, head + other + udp + tcp + tail},
		{"at the end", head + tcp + udp, head + udp + tcp},
		{"each media description by itself", head + tcp + tail + udp, head + tcp + tail + udp},
		{"not a candidate", head + "a=candidate:x\r\n" + tcp + tail, head + tcp + "a=candidate:x\r\n" + tail},
	} {
		if got := preferredFirst(c.description); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
