package depacket

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/media"
)

// key gives a payload with a frame header of a key frame.
func vp8Key() []byte { return []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 1, 0xf0, 0} }

// id gives the first payload of a frame with a 15-bit picture id; from is 0x10 for the beginning of a frame, 0 for the rest.
func id(from byte, number uint16, data ...byte) []byte {
	return append([]byte{0x80 | from, 0x80, 0x80 | byte(number>>8), byte(number)}, data...)
}

func TestVP8(t *testing.T) {
	t.Parallel()
	long := make([]byte, 40)
	long[0] = 0
	testUnits(t, media.VP8, []unitTest{
		{"one packet", []step{last(1, 0x10, 1, 2, 3)}, "~1:010203"},
		{"several packets", []step{more(1, 0x10, 1, 2), more(1, 0, 3), last(1, 0, 4)}, "~1:01020304"},
		{"later partitions", []step{more(1, 0x10, 1, 2), more(1, 0x11, 3), last(1, 0x12, 4)}, "~1:01020304"},
		{"a key frame", []step{last(1, vp8Key()...)}, "~1:1000009d012a4001f000+key"},
		{"a key frame without start code", []step{last(1, 0x10, 0x10, 0, 0, 1, 2, 3, 4, 5, 6, 7)}, "~1:DECODER"},
		{"a key frame cut short", []step{last(1, vp8Key()[:8]...)}, "~1:DECODER"},
		{"nobody needs it", []step{last(1, 0x30, 1, 2, 3)}, "~1:010203+disposable"},
		{"no frame data", []step{last(1, 0x10)}, "~1:DECODER"},
		{"no marker: the next timestamp ends it", []step{more(1, 0x10, 1, 2, 3), last(2, 0x10, 1, 4, 5)}, "~1:010203 2:010405"},
		{"no packet without payload counts", []step{more(1, 0x10, 1, 2), {2, []byte{}, true}, last(1, 0, 3)}, "~1:010203"},

		{"the stream starts in the middle of a frame", []step{more(1, 0, 1), last(1, 0, 2), last(2, 0x10, 1, 2, 3)}, "~1:DAMAGED 2:010203"},
		{"a frame that never begins", []step{last(1, 0x10, 1, 2, 3), last(2, 0, 1, 2, 3)}, "~1:010203 2:DECODER"},
		{"a frame that begins twice", []step{more(1, 0x10, 1, 2), last(1, 0x10, 1, 2), last(2, 0x10, 1, 2, 3)}, "~1:DECODER 2:010203"},

		{"lost in the middle", []step{more(1, 0x10, 1), gap, last(1, 0, 2), last(2, 0x10, 1, 2, 3)}, "~1:DAMAGED 2:010203"},
		{"lost at the end", []step{more(1, 0x10, 1), gap, last(2, 0x10, 1, 2, 3)}, "~1:DAMAGED ~2:010203"},
		{"lost at the beginning", []step{last(1, 0x10, 1, 2, 3), gap, last(2, 0, 1), last(3, 0x10, 1, 2, 3)}, "~1:010203 ~2:DAMAGED 3:010203"},
		{"lost between", []step{last(1, 0x10, 1, 2, 3), gap, last(3, 0x10, 1, 4, 5)}, "~1:010203 ~3:010405"},
		{"lost twice in one", []step{more(1, 0x10, 1), gap, more(1, 0, 2), gap, last(1, 0, 3), last(2, 0x10, 1, 2, 3)}, "~1:DAMAGED 2:010203"},
		{"nobody needs the lost one", []step{more(1, 0x30, 1), gap, last(1, 0x20, 2)}, "~1:DAMAGED+disposable"},
		{"too large", []step{more(1, append([]byte{0x10}, long...)...), more(1, append([]byte{0}, long...)...), last(1, 0, 1), last(2, 0x10, 1, 2, 3)}, "~1:TOO_LARGE 2:010203"},

		{"more after the marker: markers end nothing here", []step{
			last(1, 0x10, 1, 2, 3), last(1, 0, 4), last(2, 0x10, 1, 2), last(2, 0, 3), last(3, 0x10, 1, 1, 1),
		}, "~1:010203 ~2:010203"},
		{"another frame of the same time", []step{last(1, 0x10, 1, 2, 3), last(1, 0x10, 1, 4, 5)}, "~1:010203 1:010405"},

		{"ids show that only padding was lost", []step{last(1, id(0x10, 5, 1, 1, 1)...), gap, last(2, id(0x10, 6, 1, 2, 2)...)}, "~1:010101 2:010202"},
		{"ids over the wrap", []step{last(1, id(0x10, 0x7fff, 1, 1, 1)...), gap, last(2, id(0x10, 0, 1, 2, 2)...)}, "~1:010101 2:010202"},
		{"ids show that a frame was lost", []step{last(1, id(0x10, 5, 1, 1, 1)...), gap, last(3, id(0x10, 7, 1, 2, 2)...)}, "~1:010101 ~3:010202"},
		{"ids after a damaged frame", []step{more(1, id(0x10, 5, 1)...), gap, last(2, id(0x10, 6, 1, 2, 2)...)}, "~1:DAMAGED 2:010202"},
		{"ids of a frame whose beginning is lost", []step{last(1, id(0x10, 5, 1, 1, 1)...), gap, last(2, id(0, 6, 1)...)}, "~1:010101 2:DAMAGED"},
		{"ids with a frame without in between", []step{last(1, id(0x10, 5, 1, 1, 1)...), last(2, 0x10, 1, 2, 2), gap, last(3, id(0x10, 6, 1, 3, 3)...)},
			"~1:010101 2:010202 ~3:010303"},
		{"seven bits prove nothing", []step{last(1, 0x90, 0x80, 5, 1, 1, 1), gap, last(2, 0x90, 0x80, 6, 1, 1, 1)}, "~1:010101 ~2:010101"},

		{"descriptor cut: extension", []step{last(1, 0x90)}, "~1:DECODER"},
		{"descriptor cut: picture id", []step{last(1, 0x90, 0x80)}, "~1:DECODER"},
		{"descriptor cut: long picture id", []step{last(1, 0x90, 0x80, 0x80)}, "~1:DECODER"},
		{"descriptor cut: indices", []step{last(1, 0x90, 0x70, 1)}, "~1:DECODER"},
		{"descriptor with everything", []step{last(1, 0x90, 0xf0, 0x80, 1, 2, 3, 1, 2, 3)}, "~1:010203"},
	})
}

// vp8Layered gives a payload of a frame with everything in its descriptor.
func vp8Layered(number uint16, tl0, layer byte, synced, disposable bool) []byte {
	b := []byte{0x90, 0xe0, 0x80 | byte(number>>8), byte(number), tl0, layer << 6, 1, 2, 3}
	if synced {
		b[5] |= 0x20
	}
	if disposable {
		b[0] |= 0x20
	}
	return b
}

// TestVP8Layers loses pictures of three temporal layers: only what depends on them is given up.
func TestVP8Layers(t *testing.T) {
	t.Parallel()
	key := slices.Concat(vp8Layered(0, 0, 0, false, false)[:6], vp8Key()[1:])
	a, g := assembler(t, media.VP8, 0), new(Gate)
	var got []string
	for _, u := range feed(a,
		last(1, key...), last(2, vp8Layered(1, 0, 2, true, true)...), last(3, vp8Layered(2, 0, 1, true, false)...), last(4, vp8Layered(3, 0, 2, false, true)...),
		last(5, vp8Layered(4, 1, 0, false, false)...), gap, // 6, of the middle layer
		last(7, vp8Layered(6, 1, 2, false, true)...), last(8, vp8Layered(7, 2, 0, false, false)...), last(9, vp8Layered(8, 2, 2, true, true)...),
		last(10, vp8Layered(9, 2, 1, true, false)...), last(11, vp8Layered(10, 2, 2, true, true)...), gap, // 12, of the lowest
		last(13, vp8Layered(12, 3, 1, true, false)...),
	) {
		got = append(got, fmt.Sprint(u.RTP.Timestamp, " of ", u.Layer, " ", g.Step(&u)))
	}
	want := []string{
		"1 of 0 decode", "2 of 2 decode", "3 of 1 decode", "4 of 2 decode", "5 of 0 decode", "7 of 2 refuse", "8 of 0 decode", "9 of 2 refuse",
		"10 of 1 decode", "11 of 2 decode", "13 of 1 refuse",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func FuzzVP8Descriptor(f *testing.F) {
	for _, seed := range []string{"", "10", "90", "9080", "908080", "9080810203", "90f08001020301020304", "1010", "9030ff01", "9000aa", "b0e005060708"} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		d, data, err := parseVP8(payload)
		var peer codecs.VP8Packet
		want, peerErr := peer.Unmarshal(payload)
		if (err != nil) != (peerErr != nil) {
			t.Fatalf("%x: error %v, pion says %v", payload, err, peerErr)
		}
		if err != nil {
			return
		}
		if d.temporal != peer.TID || d.synced != (peer.Y == 1 && peer.T == 1) || d.tl0 != peer.TL0PICIDX {
			t.Fatalf("%x: %+v, pion says %+v", payload, d, peer)
		}
		if !bytes.Equal(data, want) || d.id.value != peer.PictureID || d.start != (peer.S == 1 && peer.PID == 0) || d.disposable != (peer.N == 1) {
			t.Fatalf("%x: %+v %x, pion says %+v", payload, d, data, peer)
		}
	})
}
