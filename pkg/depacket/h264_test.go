package depacket

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The shortest NAL units with the bits that matter. A slice begins with its first_mb_in_slice: the first bit is one in a picture's first.
var (
	sps       = []byte{0x67, 0x42}
	pps       = []byte{0x68, 0xce}
	idr       = []byte{0x65, 0x88}
	idrSecond = []byte{0x65, 0x48}
	slice     = []byte{0x41, 0x9a}
	second    = []byte{0x41, 0x5a}
	unneeded  = []byte{0x01, 0x9a}
	delimiter = []byte{0x09, 0xf0}
	recovery0 = []byte{0x06, 0x06, 0x01, 0x84, 0x80} // recovery_frame_cnt 0
	recovery2 = []byte{0x06, 0x06, 0x01, 0x64, 0x80} // recovery_frame_cnt 2
)

// stap aggregates NAL units (RFC 6184 section 5.7.1).
func stap(nals ...[]byte) []byte {
	out := []byte{0x18}
	for _, n := range nals {
		out = append(append(out, byte(len(n)>>8), byte(len(n))), n...)
	}
	return out
}

// fragment gives a fragment of a NAL unit (RFC 6184 section 5.8); flags are 0x80 for the first and 0x40 for the last.
func fragment(header, flags byte, body ...byte) []byte {
	return append([]byte{header&0xe0 | 28, flags | header&0x1f}, body...)
}

func TestH264(t *testing.T) {
	t.Parallel()
	testUnits(t, media.H264, []unitTest{
		{"a single NAL unit", []step{last(1, slice...)}, "~1:|419a"},
		{"several slices", []step{more(1, slice...), more(1, second...), last(1, second...)}, "~1:|419a|415a|415a"},
		{"an aggregate", []step{last(1, stap(sps, pps, idr)...)}, "~1:|6742|68ce|6588+key"},
		{"parameter sets apart", []step{more(1, sps...), more(1, pps...), last(1, idr...)}, "~1:|6742|68ce|6588+key"},
		{"fragments", []step{
			more(1, fragment(0x41, 0x80, 0x9a)...), more(1, fragment(0x41, 0, 1)...), last(1, fragment(0x41, 0x40, 2)...),
		}, "~1:|419a0102"},
		{"an aggregate and fragments", []step{
			more(1, stap(sps, pps)...), more(1, fragment(0x65, 0x80, 0x88)...), last(1, fragment(0x65, 0x40, 1)...),
		}, "~1:|6742|68ce|658801+key"},
		{"one fragment, first and last", []step{last(1, fragment(0x41, 0xc0, 0x9a)...)}, "~1:|419a"},
		{"nobody needs it", []step{last(1, unneeded...)}, "~1:|019a+disposable"},
		{"no marker: the next timestamp ends it", []step{more(1, slice...), more(1, second...), last(2, slice...)}, "~1:|419a|415a 2:|419a"},

		{"a key frame without parameter sets is none", []step{last(1, idr...)}, "~1:DAMAGED"},
		{"nor is one with half of them", []step{last(1, stap(sps, idr)...)}, "~1:|6742|6588"},
		{"remembered parameter sets are put before a key frame", []step{last(1, stap(sps, pps, idr)...), last(2, slice...), last(3, idr...)},
			"~1:|6742|68ce|6588+key 2:|419a 3:|6742|68ce|6588+key"},
		{"the latest are remembered", []step{last(1, stap(sps, pps, idr)...), last(2, stap([]byte{0x67, 9}, []byte{0x68, 8}, idr)...), last(3, idr...)},
			"~1:|6742|68ce|6588+key 2:|6709|6808|6588+key 3:|6709|6808|6588+key"},
		{"several of a kind are remembered", []step{last(1, stap(sps, pps, []byte{0x68, 8}, idr)...), last(2, idr...)},
			"~1:|6742|68ce|6808|6588+key 2:|6742|68ce|6808|6588+key"},
		{"but not across a loss: it may have been new ones", []step{last(1, stap(sps, pps, idr)...), gap, last(2, idr...)}, "~1:|6742|68ce|6588+key ~2:DAMAGED"},
		{"a key frame after a loss with its own", []step{last(1, slice...), gap, last(2, stap(sps, pps, idr)...)}, "~1:|419a ~2:|6742|68ce|6588+key"},
		{"parameter sets with a marker of their own", []step{last(1, sps...), last(1, pps...), last(1, idr...)}, "~1:|6742|68ce|6588+key"},
		{"parameter sets with a time of their own", []step{last(1, stap(sps, pps)...), last(2, slice...), last(3, idr...)},
			"~2:|419a 3:|6742|68ce|6588+key"},
		{"fragmented parameter sets are not remembered", []step{
			last(1, stap(sps, pps, idr)...), more(2, fragment(0x67, 0x80, 1)...), more(2, fragment(0x67, 0x40, 2)...), last(2, idr...), last(3, idr...),
		}, "~1:|6742|68ce|6588+key 2:|670102|68ce|6588+key 3:|68ce|6588"},

		{"a recovery point", []step{last(1, stap(sps, pps, recovery0, slice)...)}, "~1:|6742|68ce|0606018480|419a+recovers0"},
		{"a recovery point some frames on", []step{last(1, stap(sps, pps, recovery2, slice)...)}, "~1:|6742|68ce|0606016480|419a+recovers2"},
		{"a recovery point with remembered parameter sets", []step{last(1, stap(sps, pps, idr)...), last(2, stap(recovery0, slice)...)},
			"~1:|6742|68ce|6588+key 2:|0606018480|6742|68ce|419a+recovers0"},
		{"a recovery point at a key frame is a key frame", []step{last(1, stap(sps, pps, recovery0, idr)...)}, "~1:|6742|68ce|0606018480|6588+key"},
		{"a recovery point without parameter sets", []step{last(1, stap(recovery0, slice)...)}, "~1:|0606018480|419a"},

		{"the stream starts with a later slice", []step{more(1, second...), last(1, second...), last(2, slice...)}, "~1:DAMAGED 2:|419a"},
		{"the stream starts with a later fragment", []step{more(1, fragment(0x41, 0, 1)...), last(1, fragment(0x41, 0x40, 1)...), last(2, slice...)},
			"~1:DAMAGED 2:|419a"},
		{"the first slice is lost", []step{last(1, slice...), gap, last(2, second...), last(3, slice...)}, "~1:|419a ~2:DAMAGED 3:|419a"},
		{"a slice in the middle is lost", []step{more(1, slice...), gap, last(1, second...), last(2, slice...)}, "~1:DAMAGED 2:|419a"},
		{"the last slice is lost", []step{more(1, slice...), gap, last(2, slice...)}, "~1:DAMAGED ~2:|419a"},
		{"the lost one is not needed", []step{more(1, unneeded...), gap, last(1, unneeded...), last(2, slice...)}, "~1:DAMAGED+disposable 2:|419a"},
		{"the parameter sets' key frame is lost", []step{more(1, stap(sps, pps)...), gap, last(1, second...), last(2, idr...)}, "~1:DAMAGED 2:|6742|68ce|6588+key"},
		{"without a loss a later slice comes first", []step{last(1, slice...), last(2, second...)}, "~1:|419a 2:DECODER"},
		{"more after the marker: markers end nothing here", []step{
			last(1, slice...), last(1, second...), last(2, slice...), last(2, second...), last(3, slice...), last(3, second...), last(4, slice...),
		}, "~1:|419a ~2:|419a|415a 3:|419a|415a"},
		{"half an aggregate after the marker", []step{last(1, slice...), last(1, 0x18, 0), last(1, 0x18, 0, 1), last(1, 28, 0x80), last(1, 28), last(2, slice...), last(3, slice...)},
			"~1:|419a ~2:|419a"},
		{"another picture of the same time", []step{last(1, slice...), last(1, stap(delimiter, slice)...)}, "~1:|419a 1:|09f0|419a"},

		{"the end of a fragmented unit is missing", []step{more(1, fragment(0x41, 0x80, 0x9a)...), last(1, slice...)}, "~1:DECODER"},
		{"a fragmented unit begins twice", []step{more(1, fragment(0x41, 0x80, 0x9a)...), last(1, fragment(0x41, 0xc0, 0x9a)...)}, "~1:DECODER"},
		{"a fragmented unit changes its type", []step{more(1, fragment(0x41, 0x80, 0x9a)...), last(1, fragment(0x65, 0x40, 1)...)}, "~1:DECODER"},
		{"a fragmented unit never ends", []step{last(1, fragment(0x41, 0x80, 0x9a)...), last(2, slice...)}, "~1:DECODER 2:|419a"},
		{"a fragment of nothing", []step{last(1, fragment(0x41, 0xc0)...)}, "~1:DECODER"},
		{"a fragment of an aggregate", []step{last(1, fragment(0x18, 0xc0, 1)...)}, "~1:DECODER"},
		{"an aggregate overruns", []step{last(1, 0x18, 0, 9, 0x41, 0x9a)}, "~1:DECODER"},
		{"an aggregate with half a size", []step{last(1, append(stap(slice), 0)...)}, "~1:DECODER"},
		{"an aggregate with nothing in it", []step{last(1, append(stap(slice), 0, 0)...)}, "~1:|419a"},
		{"an aggregate in an aggregate", []step{last(1, stap(stap(slice))...)}, "~1:DECODER"},
		{"a forbidden bit", []step{last(1, 0xc1, 0x9a)}, "~1:DECODER"},
		{"other packet types", []step{last(1, 25, 1, 1), last(2, 26, 1, 1), last(3, 27, 1), last(4, 29, 1), last(5, 0, 1), last(6, 31, 1)},
			"~1:DECODER 2:DECODER 3:DECODER 4:DECODER 5:DECODER 6:DECODER"},
		{"too large", []step{more(1, append([]byte{0x41, 0x9a}, make([]byte, 70)...)...), last(1, second...), last(2, slice...)}, "~1:TOO_LARGE 2:|419a"},
	})
}

func TestHugeParameterSetsAreNotRemembered(t *testing.T) {
	t.Parallel()
	a := assembler(t, media.H264, 0)
	huge := append([]byte{0x67}, make([]byte, parametersMost)...)
	units := feed(a, last(1, stap(huge, pps, idr)...), last(2, idr...))
	if len(units) != 2 || !units[0].Key || units[1].Key {
		t.Errorf("got %d units", len(units))
	}
	for i := range uint32(1000) {
		feed(a, last(3+i, pps...))
	}
	if kept := cap(a.format.(*h264).sps.kept) + cap(a.format.(*h264).pps.kept); kept > 3*parametersMost {
		t.Errorf("%d bytes of parameter sets kept", kept)
	}
}

func TestBackwardPictures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		slices [][]byte
		want   bool
	}{
		{"P", [][]byte{{0x41, 0x9a}}, false},
		{"I", [][]byte{{0x41, 0x88}}, false},
		{"B", [][]byte{{0x41, 0x9e}}, true},
		{"B of mixed pictures", [][]byte{{0x41, 0xa0}}, true},
		{"P and B", [][]byte{{0x41, 0x9a}, {0x41, 0x47, 0x80}}, true}, // first_mb_in_slice 1
		{"cut off", [][]byte{{0x41, 0x80}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if u := feed(assembler(t, media.H264, 0), last(1, stap(c.slices...)...))[0]; u.Backward != c.want {
				t.Errorf("backward: %v, want %v", u.Backward, c.want)
			}
		})
	}
}

func TestRecoveryPoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		sei    []byte
		frames int
		ok     bool
	}{
		{"at once", []byte{6, 1, 0x80, 0x80}, 0, true},
		{"after 1", []byte{6, 1, 0x40, 0x80}, 1, true},
		{"after 255", []byte{6, 3, 0x00, 0x80, 0x00, 0x80}, 255, true},
		{"after another message", []byte{5, 2, 1, 2, 6, 1, 0x60, 0x80}, 2, true},
		{"after a long message", append(append([]byte{5, 0xff, 1}, make([]byte, 256)...), 6, 1, 0x80, 0x80), 0, true},
		{"none", []byte{5, 2, 1, 2, 0x80}, 0, false},
		{"empty", nil, 0, false},
		{"empty message", []byte{6, 0, 0x80}, 0, false},
		{"overrun", []byte{6, 9, 0x80, 0x80}, 0, false},
		{"endless type", []byte{0xff, 0xff, 0xff}, 0, false},
		{"endless size", []byte{6, 0xff, 0xff}, 0, false},
		{"more than 16 bits", []byte{6, 5, 0, 0, 0x20, 0, 0, 0x80}, 0, false},
		{"cut number", []byte{6, 1, 0x01, 0x80}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			message, ok := seiMessage(c.sei, recoveryPointType)
			frames := 0
			if ok {
				frames, ok = (&bitReader{bytes: message}).golomb()
			}
			if frames != c.frames && c.ok || ok != c.ok {
				t.Errorf("recoveryPoint = %d, %v, want %d, %v", frames, ok, c.frames, c.ok)
			}
		})
	}
}

// TestH264AgreesWithPion packs pictures with pion's payloader and holds what comes out against pion's own depacketizer.
func TestH264AgreesWithPion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var annexB []byte
		for i, n := 0, rapid.IntRange(1, 4).Draw(t, "slices"); i < n; i++ {
			nal := []byte{0x41, 0x9a}
			if i > 0 {
				nal[1] = 0x5a
			}
			body := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 300).Draw(t, "body")
			annexB = append(append(append(annexB, 0, 0, 0, 1), nal...), body...)
		}
		mtu := rapid.Uint16Range(20, 400).Draw(t, "mtu")
		payloads := new(codecs.H264Payloader).Payload(mtu, annexB)
		peer := new(codecs.H264Packet)
		a, err := New(media.H264, 0)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		var got []Unit
		for i, payload := range payloads {
			part, err := peer.Unmarshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, part...)
			got = a.Push(&rtp.Packet{Header: rtp.Header{Timestamp: 1, Marker: i == len(payloads)-1}, Payload: payload}, start)
		}
		if len(got) != 1 || !got[0].Whole() || !bytes.Equal(got[0].Data, want) {
			t.Fatalf("got %s\nwant %x", brief(got), want)
		}
	})
}
