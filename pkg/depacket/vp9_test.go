package depacket

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/media"
)

// The beginnings of VP9 frames.
var (
	vp9Key     = []byte{0x82, 0x49, 0x83, 0x42, 0x00}
	vp9Inter   = []byte{0x86, 0x01, 0x00} // refreshes one reference
	vp9Unused  = []byte{0x87, 0x00, 0x00} // refreshes none and is error resilient
	vp9Existed = []byte{0x88}             // shows an existing frame
)

// Flags of a descriptor's first byte.
const (
	fI = 0x80
	fP = 0x40
	fL = 0x20
	fF = 0x10
	fB = 0x08
	fE = 0x04
	fV = 0x02
)

// vp9Packet gives a payload.
func vp9Packet(descriptor []byte, frame ...byte) []byte {
	return append(append([]byte{}, descriptor...), frame...)
}

// layers gives the descriptor of non-flexible mode with everything: spatial holds SID<<1 and D.
func layers(flags byte, picture uint16, temporal, up, spatial, tl0 byte) []byte {
	return []byte{fI | fL | flags, 0x80 | byte(picture>>8), byte(picture), temporal<<5 | up<<4 | spatial, tl0}
}

func TestVP9(t *testing.T) {
	t.Parallel()
	whole := []byte{fB | fE}
	numbered := func(flags byte, picture uint16) []byte {
		return []byte{fI | flags, 0x80 | byte(picture>>8), byte(picture)}
	}
	base := func(picture uint16) []byte { return layers(fB|fE, picture, 0, 0, 0, 0) }
	upper := func(picture uint16) []byte { return layers(fB|fE, picture, 0, 0, 1<<1|1, 0) }
	testUnits(t, media.VP9, []unitTest{
		{"one packet", []step{last(1, vp9Packet(whole, vp9Inter...)...)}, "~1:860100"},
		{"a key frame", []step{last(1, vp9Packet(whole, vp9Key...)...)}, "~1:8249834200+key"},
		{"a key frame without sync code", []step{last(1, vp9Packet(whole, 0x82, 1, 2, 3, 4)...)}, "~1:DECODER"},
		{"a key frame cut short", []step{last(1, vp9Packet(whole, 0x82, 0x49)...)}, "~1:DECODER"},
		{"no frame marker", []step{last(1, vp9Packet(whole, 0x42, 0, 0)...)}, "~1:DECODER"},
		{"nothing of a frame", []step{last(1, whole...)}, "~1:DECODER"},
		{"nobody needs it", []step{last(1, vp9Packet(whole, vp9Unused...)...)}, "~1:870000+disposable"},
		{"an existing frame", []step{last(1, vp9Packet(whole, vp9Existed...)...)}, "~1:88"},
		{"a hidden intra frame", []step{last(1, vp9Packet(whole, 0x84, 0x89, 0x30, 0x68, 0x40, 0x20)...)}, "~1:848930684020"},
		{"a hidden intra frame without sync code", []step{last(1, vp9Packet(whole, 0x84, 0x80, 0, 0, 0, 0)...)}, "~1:DECODER"},
		{"several packets", []step{more(1, vp9Packet([]byte{fB}, vp9Inter...)...), more(1, 0, 7), last(1, fE, 8)}, "~1:8601000708"},
		{"no marker: the next timestamp ends it", []step{more(1, vp9Packet(whole, vp9Inter...)...), last(2, vp9Packet(whole, vp9Key...)...)}, "~1:860100 2:8249834200+key"},

		{"flexible, with references", []step{last(1, vp9Packet([]byte{fI | fP | fF | fB | fE, 5, 1<<1 | 1, 2 << 1}, vp9Inter...)...)}, "~1:860100"},
		{"flexible, four references", []step{last(1, vp9Packet([]byte{fP | fF | fB | fE, 3, 3, 3, 2}, vp9Inter...)...)}, "~1:DECODER"},
		{"flexible, layers without TL0PICIDX", []step{last(1, vp9Packet([]byte{fL | fF | fB | fE, 0x40}, vp9Inter...)...)}, "~1:860100"},
		{"non-flexible ignores P", []step{last(1, vp9Packet([]byte{fP | fB | fE}, vp9Inter...)...)}, "~1:860100"},
		{"scalability structure", []step{last(1, vp9Packet([]byte{fB | fE | fV, 0x38, 1, 64, 0, 180, 2, 128, 1, 104, 2, 0x04, 1, 0x28, 1, 2}, vp9Key...)...)}, "~1:8249834200+key"},
		{"structure of nothing", []step{last(1, vp9Packet([]byte{fB | fE | fV, 0}, vp9Key...)...)}, "~1:8249834200+key"},

		{"structure missing", []step{last(1, fB|fE|fV)}, "~1:DECODER"},
		{"structure without its sizes", []step{last(1, fB|fE|fV, 0xf0, 1, 2, 3)}, "~1:DECODER"},
		{"structure without its group", []step{last(1, fB|fE|fV, 0x08)}, "~1:DECODER"},
		{"structure with half its group", []step{last(1, fB|fE|fV, 0x08, 2, 0x00)}, "~1:DECODER"},
		{"structure with half its references", []step{last(1, fB|fE|fV, 0x08, 1, 0x0c, 1, 2)}, "~1:DECODER"},
		{"picture id missing", []step{last(1, fI|fB|fE)}, "~1:DECODER"},
		{"half a picture id", []step{last(1, fI|fB|fE, 0x80)}, "~1:DECODER"},
		{"layer indices missing", []step{last(1, fL|fB|fE)}, "~1:DECODER"},
		{"TL0PICIDX missing", []step{last(1, fL|fB|fE, 0)}, "~1:DECODER"},
		{"references missing", []step{last(1, fP|fF|fB|fE)}, "~1:DECODER"},

		{"the stream starts in the middle of a frame", []step{more(1, 0, 1), last(1, fE, 2), last(2, vp9Packet(whole, vp9Key...)...)}, "~1:DAMAGED 2:8249834200+key"},
		{"a frame that never begins", []step{last(1, vp9Packet(whole, vp9Inter...)...), last(2, fE, 1)}, "~1:860100 2:DECODER"},
		{"a frame that never ends", []step{last(1, vp9Packet([]byte{fB}, vp9Inter...)...)}, "~1:DECODER"},
		{"a frame in a frame", []step{more(1, vp9Packet([]byte{fB}, vp9Inter...)...), last(1, vp9Packet(whole, vp9Inter...)...)}, "~1:DECODER"},
		{"lost in the middle", []step{more(1, vp9Packet([]byte{fB}, vp9Inter...)...), gap, last(1, fE, 2), last(2, vp9Packet(whole, vp9Inter...)...)}, "~1:DAMAGED 2:860100"},
		{"nobody needs the lost one", []step{more(1, vp9Packet([]byte{fB}, vp9Unused...)...), gap, last(1, fE, 2)}, "~1:DAMAGED+disposable"},
		{"too large", []step{last(1, vp9Packet(whole, append(bytes.Clone(vp9Inter), make([]byte, 70)...)...)...)}, "~1:TOO_LARGE"},
		{"an index too large", []step{more(1, vp9Packet(whole, append(bytes.Clone(vp9Inter), make([]byte, 28)...)...)...), last(1, vp9Packet(whole, append(bytes.Clone(vp9Inter), make([]byte, 28)...)...)...)}, "~1:TOO_LARGE"},

		{"two spatial layers", []step{more(1, vp9Packet(base(1), vp9Key...)...), last(1, vp9Packet(upper(1), vp9Inter...)...)}, "~1:8249834200" + "860100" + "c10503c1+key"},
		{"an upper layer after the marker", []step{
			last(1, vp9Packet(base(1), vp9Inter...)...), last(1, vp9Packet(upper(1), vp9Inter...)...),
			last(2, vp9Packet(base(2), vp9Inter...)...), last(2, vp9Packet(upper(2), vp9Inter...)...), last(3, vp9Packet(base(3), vp9Inter...)...),
		}, "~1:860100 2:860100860100c10303c1"},
		{"the lower layer is lost", []step{last(1, vp9Packet(base(1), vp9Inter...)...), gap, last(2, vp9Packet(upper(2), vp9Inter...)...)}, "~1:860100 2:DAMAGED"},
		{"the upper layer is lost", []step{more(1, vp9Packet(base(1), vp9Inter...)...), gap, last(2, vp9Packet(base(2), vp9Inter...)...)}, "~1:DAMAGED 2:860100"},
		{"a superframe in a superframe", []step{more(1, vp9Packet(base(1), 0x86, 1, 0, 0x86, 1, 0, 0xc1, 3, 3, 0xc1)...), last(1, vp9Packet(upper(1), vp9Inter...)...)}, "~1:DECODER"},
		{"an empty continuation", []step{more(1, vp9Packet([]byte{fB}, vp9Inter...)...), last(1, fE)}, "~1:860100"},
		{"another picture of the same time", []step{more(1, vp9Packet(numbered(fB|fE, 1), vp9Inter...)...), last(1, vp9Packet(numbered(fB|fE, 2), vp9Inter...)...)}, "~1:DECODER"},

		{"ids show that only padding was lost", []step{last(1, vp9Packet(numbered(fB|fE, 0x7fff), vp9Inter...)...), gap, last(2, vp9Packet(numbered(fB|fE, 0), vp9Inter...)...)}, "~1:860100 2:860100"},
		{"ids show that a picture was lost", []step{last(1, vp9Packet(numbered(fB|fE, 1), vp9Inter...)...), gap, last(3, vp9Packet(numbered(fB|fE, 3), vp9Inter...)...)}, "~1:860100 ~3:860100"},
	})
}

func TestVP9TooManyFrames(t *testing.T) {
	t.Parallel()
	var steps []step
	for range vp9MostFrames + 1 {
		steps = append(steps, more(1, vp9Packet([]byte{fB | fE}, vp9Inter...)...))
	}
	if got := brief(feed(assembler(t, media.VP9, 0), steps...)); got != "~1:DECODER" {
		t.Errorf("got %s", got)
	}
}

// TestVP9LayersReachTheGate loses pictures of a stream of three temporal layers, whose descriptors say which.
func TestVP9LayersReachTheGate(t *testing.T) {
	t.Parallel()
	type picture struct {
		temporal, up byte
		lost         bool
	}
	for _, c := range []struct {
		name     string
		pictures []picture // after a key frame
		want     string    // D decode, R refuse
		asks     bool
	}{
		{"nothing lost", []picture{{2, 0, false}, {1, 0, false}, {2, 0, false}, {0, 0, false}}, "DDDD", false},
		{"the highest, seldom whole again", []picture{{2, 0, true}, {1, 0, false}, {2, 0, false}, {0, 0, false}, {2, 0, false}}, "RRDR", false},
		{"the highest, which starts afresh", []picture{{2, 0, true}, {0, 1, false}, {2, 0, false}, {1, 0, false}}, "DDD", false},
		{"the middle", []picture{{2, 0, false}, {1, 0, true}, {2, 0, false}, {0, 0, false}, {2, 0, false}, {0, 1, false}, {2, 0, false}}, "DRDRDD", false},
		{"the lowest", []picture{{2, 0, false}, {0, 0, true}, {2, 0, false}, {0, 1, false}}, "DRR", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			steps := []step{last(0, vp9Packet(layers(fB|fE, 0, 0, 0, 0, 9), vp9Key...)...)}
			tl0 := byte(9)
			for i, p := range c.pictures {
				if p.temporal == 0 {
					tl0++
				}
				if p.lost {
					steps = append(steps, gap)
				} else {
					steps = append(steps, last(uint32(i+1), vp9Packet(layers(fB|fE, uint16(i+1), p.temporal, p.up, 0, tl0), vp9Inter...)...))
				}
			}
			gate, got := new(Gate), ""
			for _, u := range feed(assembler(t, media.VP9, 0), steps...) {
				got += map[Verdict]string{Decode: "D", Refuse: "R"}[gate.Step(&u)]
			}
			if _, asks := gate.Next(); got != "D"+c.want || asks != c.asks {
				t.Errorf("verdicts %s, asks %v; want D%s, %v", got, asks, c.want, c.asks)
			}
		})
	}
}

// FuzzVP9Descriptor compares with pion, which refuses spatial layers beyond the fifth.
func FuzzVP9Descriptor(f *testing.F) {
	for _, seed := range []string{"", "0c", "8c05", "8c8005", "ac800521070102", "bc05210301", "dc050304", "0e3801400b4002800168020401280102", "0ef001", "0e08", "0e080200", "de0503"} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		d, data, err := parseVP9(payload)
		var peer codecs.VP9Packet
		want, peerErr := peer.Unmarshal(payload)
		if peer.SID > 4 {
			return
		}
		if (err != nil) != (peerErr != nil) {
			t.Fatalf("%x: error %v, pion says %v", payload, err, peerErr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(data, want) || d.id.value != peer.PictureID || d.first != peer.B || d.last != peer.E || d.temporal != peer.TID ||
			d.switches != peer.U || d.spatial != peer.SID || d.upon != peer.D || d.tl0 != peer.TL0PICIDX {
			t.Fatalf("%x: %+v %x, pion says %+v", payload, d, data, peer)
		}
	})
}
