package depacket

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
)

// x265 gives the NAL units of a clip's access units, as libx265 encodes it with the options.
func x265(t *testing.T, options string) (units [][][]byte) {
	t.Helper()
	arguments := "-hide_banner -loglevel error -nostdin -f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 60 -pix_fmt yuv420p " +
		"-c:v libx265 -preset ultrafast -x265-params log-level=none:aud=1:keyint=20:min-keyint=20:scenecut=0:" + options + " -f hevc -"
	cmd := exec.Command("ffmpeg", strings.Fields(arguments)...)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg with libx265 (is it installed?): %v\n%s", err, words.String())
	}
	coded := false
	for part := range bytes.SplitSeq(out.Bytes(), []byte{0, 0, 1}) {
		nal := bytes.TrimRight(part, "\x00")
		switch {
		case len(nal) == 0:
			continue
		case len(units) == 0, hevcKind(nal[0]) == hevcAUD && coded:
			units, coded = append(units, nil), false
		}
		coded = coded || hevcKind(nal[0]) <= hevcLastSlice
		units[len(units)-1] = append(units[len(units)-1], nal)
	}
	return units
}

// hevcPackets packs an access unit: small NAL units that follow each other into an aggregate, large ones into fragments.
func hevcPackets(nals [][]byte, mtu int) (payloads [][]byte) {
	var small [][]byte
	flush := func() {
		switch len(small) {
		case 0:
		case 1:
			payloads = append(payloads, small[0])
		default:
			payloads = append(payloads, hevcAP(small...))
		}
		small = nil
	}
	size := 2
	for _, nal := range nals {
		if size += 2 + len(nal); size > mtu {
			flush()
			size = 4 + len(nal)
		}
		if len(nal) <= mtu-4 {
			small = append(small, nal)
			continue
		}
		for body, flags := nal[2:], byte(0x80); len(body) > 0; flags = 0 {
			n := min(len(body), mtu-3)
			if n == len(body) {
				flags |= 0x40
			}
			head := []byte{nal[0]&0x81 | hevcFragment<<1, nal[1], flags | hevcKind(nal[0])}
			payloads = append(payloads, append(head, body[:n]...))
			body = body[n:]
		}
	}
	flush()
	return payloads
}

// TestH265OfX265 sends what a real encoder makes: every unit must come out as it went in, but for supplemental information, with what can be known of it.
func TestH265OfX265(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, options string
		keys          int
		want          string // what must occur among the units, and nothing else
	}{
		{"low delay", "bframes=0:repeat-headers=1:slices=3", 3, ""},
		{"parameter sets in front only", "bframes=0:repeat-headers=1", 3, ""},
		{"B pictures", "bframes=3:b-adapt=0:open-gop=0:repeat-headers=1", 3, "disposable"},
		{"open groups", "bframes=3:b-adapt=0:open-gop=1:repeat-headers=1", 3, "disposable leading"},
		{"temporal layers", "bframes=3:b-adapt=0:open-gop=0:repeat-headers=1:temporal-layers=1", 3, "disposable fresh layer switch"},
		{"intra-refresh, of which x265 says nothing", "bframes=0:intra-refresh=1:repeat-headers=1", 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, g := assembler(t, media.H265, 0), new(Gate)
			encoded := x265(t, c.options)
			for i := range encoded {
				if i > 0 && c.name == "parameter sets in front only" {
					encoded[i] = slices.DeleteFunc(encoded[i], func(nal []byte) bool { return hevcKind(nal[0]) >= hevcVPS && hevcKind(nal[0]) <= hevcPPS })
				}
			}
			keys, words := 0, map[string]bool{}
			for i, nals := range encoded {
				payloads := hevcPackets(nals, 200)
				for n, payload := range payloads {
					p := &rtp.Packet{Header: rtp.Header{Timestamp: uint32(i), Marker: n == len(payloads)-1}, Payload: payload}
					for _, u := range a.Push(p, start) {
						if u.Key {
							keys++
						}
						for word, set := range map[string]bool{
							"disposable": u.Disposable, "leading": u.Leading, "fresh": u.Fresh, "switch": u.Switch, "layer": u.Layer > 0, "recovers": u.Recovers,
						} {
							words[word] = words[word] || set
						}
						if got := g.Step(&u); got != Decode {
							t.Errorf("unit %d: the gate says %v", u.RTP.Timestamp, got)
						}
						checkNALs(t, int(u.RTP.Timestamp), u.Data, slices.DeleteFunc(slices.Clone(encoded[u.RTP.Timestamp]), func(nal []byte) bool {
							return hevcSupplemental(hevcKind(nal[0]))
						}))
					}
				}
			}
			var got []string
			for word, set := range words {
				if set {
					got = append(got, word)
				}
			}
			slices.Sort(got)
			if keys != c.keys || strings.Join(got, " ") != c.want {
				t.Errorf("%d key frames, want %d; %q, want %q", keys, c.keys, strings.Join(got, " "), c.want)
			}
		})
	}
}

// checkNALs compares a unit with the NAL units that were encoded, but for what the gate and the memory of parameter sets did on purpose.
func checkNALs(t *testing.T, n int, annexB []byte, encoded [][]byte) {
	t.Helper()
	var got [][]byte
	for _, nal := range bytes.Split(annexB, []byte{0, 0, 0, 1})[1:] {
		if kind := hevcKind(nal[0]); kind == hevcBLA {
			nal[0] = nal[0]&0x81 | hevcCRA<<1
		}
		got = append(got, nal)
	}
	whole := func(nals [][]byte) []byte { return bytes.Join(nals, []byte{0, 0, 1}) }
	slicesOf := func(nals [][]byte) (out [][]byte) {
		for _, nal := range nals {
			if kind := hevcKind(nal[0]); kind <= hevcLastSlice {
				out = append(out, nal)
			}
		}
		return out
	}
	if len(got) < len(encoded) || !bytes.Equal(whole(slicesOf(got)), whole(slicesOf(encoded))) {
		t.Errorf("unit %d is not as it was encoded", n)
	}
}
