package depacket

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/media"
)

// OBUs as they stand in packets, without a size.
var (
	av1Sequence = []byte{0x08, 0x00, 0xaa}
	av1KeyFrame = []byte{0x30, 0x10, 0x01}
	av1Frame    = []byte{0x30, 0x30, 0x02}
	av1Upper    = []byte{0x34, 0x08, 0x30} // of spatial layer 1
)

// sized puts sizes before OBU elements.
func sized(elements ...[]byte) (out []byte) {
	for _, e := range elements {
		out = append(append(out, byte(len(e))), e...)
	}
	return out
}

func av1Packet(header byte, rest ...[]byte) []byte {
	return append([]byte{header}, bytes.Join(rest, nil)...)
}

func TestAV1(t *testing.T) {
	t.Parallel()
	const td, sequence, keyFrame, frame = "1200", "0a8280800000aa", "32828080001001", "32828080003002"
	first := last(1, av1Packet(0x10, av1Frame)...)
	testUnits(t, media.AV1, []unitTest{
		{"one frame, W=1", []step{first}, "~1:" + td + frame},
		{"one frame, W=0", []step{last(1, av1Packet(0, sized(av1Frame))...)}, "~1:" + td + frame},
		{"a key frame, W=2", []step{last(1, av1Packet(0x28, sized(av1Sequence), av1KeyFrame)...)}, "~1:" + td + sequence + keyFrame + "+key"},
		{"a key frame, W=0", []step{last(1, av1Packet(0x08, sized(av1Sequence, av1KeyFrame))...)}, "~1:" + td + sequence + keyFrame + "+key"},
		{"a key frame in two packets", []step{more(1, av1Packet(0x18, av1Sequence)...), last(1, av1Packet(0x10, av1KeyFrame)...)}, "~1:" + td + sequence + keyFrame + "+key"},
		{"a key frame without its sequence", []step{last(1, av1Packet(0x10, av1KeyFrame)...)}, "~1:" + td + keyFrame},
		{"a sequence without a key frame", []step{last(1, av1Packet(0x20, sized(av1Sequence), av1Frame)...)}, "~1:" + td + sequence + frame},
		{"a sequence too late", []step{last(1, av1Packet(0x20, sized(av1KeyFrame), av1Sequence)...)}, "~1:" + td + keyFrame + sequence},
		{"a key frame that is not shown", []step{last(1, av1Packet(0x20, sized(av1Sequence), []byte{0x30, 0x00, 1})...)}, "~1:" + td + sequence + "32828080000001"},
		{"an existing frame", []step{last(1, av1Packet(0x20, sized(av1Sequence), []byte{0x18, 0x80})...)}, "~1:" + td + sequence + "1a8180800080"},
		{"a still picture", []step{last(1, av1Packet(0x20, sized([]byte{0x08, 0x18}), []byte{0x30, 0xff})...)}, "~1:" + td + "0a8180800018" + "32818080" + "00ff+key"},
		{"delimiter, padding and tile list go", []step{last(1, av1Packet(0, sized([]byte{0x10}, av1Frame, []byte{0x78, 1, 2}, []byte{0x40, 1}))...)}, "~1:" + td + frame},
		{"metadata stays", []step{last(1, av1Packet(0x20, sized([]byte{0x28, 1}), av1Frame)...)}, "~1:" + td + "2a8180800001" + frame},
		{"empty elements", []step{last(1, av1Packet(0, []byte{0}, sized(av1Frame), []byte{0})...)}, "~1:" + td + frame},
		{"OBUs with sizes of their own", []step{last(1, av1Packet(0x10, []byte{0x32, 2, 0x30, 2})...)}, "~1:" + td + frame},
		{"OBU shorter than its element", []step{last(1, av1Packet(0x10, []byte{0x32, 2, 0x30, 2, 9})...)}, "~1:" + td + frame},
		{"a size in more bytes than needed", []step{last(1, av1Packet(0x20, []byte{0x83, 0x80, 0}, av1Sequence, av1Frame)...)}, "~1:" + td + sequence + frame},
		{"two spatial layers", []step{more(1, av1Packet(0x10, av1Frame)...), last(1, av1Packet(0x10, av1Upper)...)}, "~1:" + td + frame + "36088180800030"},
		{"an upper layer after the marker", []step{first, last(1, av1Packet(0x10, av1Upper)...), last(2, av1Packet(0x10, av1Frame)...), last(2, av1Packet(0x10, av1Upper)...), last(3, av1Packet(0x10, av1Frame)...)},
			"~1:" + td + frame + " ~2:" + td + frame + "36088180800030"},

		{"a frame in three packets", []step{more(1, av1Packet(0x50, []byte{0x30})...), more(1, av1Packet(0xd0, []byte{0x30})...), last(1, av1Packet(0x90, []byte{2})...)}, "~1:" + td + frame},
		{"a header in two packets", []step{more(1, av1Packet(0x50, []byte{0x34})...), last(1, av1Packet(0x90, []byte{0x08, 0x30})...)}, "~1:" + td + "36088180800030"},
		{"whole, then a fragment", []step{more(1, av1Packet(0x68, sized(av1Sequence), []byte{0x30})...), last(1, av1Packet(0x90, []byte{0x10, 1})...)}, "~1:" + td + sequence + keyFrame + "+key"},
		{"a fragment, then whole, W=0", []step{more(1, av1Packet(0x48, sized(av1Sequence, []byte{0x30}))...), last(1, av1Packet(0x80, sized([]byte{0x10, 1}, av1Frame))...)}, "~1:" + td + sequence + keyFrame + frame + "+key"},

		{"no payload but the header", []step{last(1, 0x10)}, "~1:DECODER"},
		{"W tells more than there is", []step{last(1, av1Packet(0x30, sized(av1Sequence, av1Frame))...)}, "~1:DECODER"},
		{"W=2 and one element", []step{last(1, av1Packet(0x20, sized(av1Frame))...)}, "~1:DECODER"},
		{"an element longer than the packet", []step{last(1, av1Packet(0, []byte{9, 0x30, 0x30})...)}, "~1:DECODER"},
		{"a size without end", []step{last(1, av1Packet(0, bytes.Repeat([]byte{0x80}, 12))...)}, "~1:DECODER"},
		{"a size beyond all bounds", []step{last(1, av1Packet(0, []byte{0xff, 0xff, 0xff, 0xff, 0x7f, 1})...)}, "~1:DECODER"},
		{"N in the middle of an OBU", []step{more(1, av1Packet(0x50, []byte{0x30})...), last(1, av1Packet(0x98, []byte{0x30, 2})...)}, "~1:DECODER"},
		{"the forbidden bit", []step{last(1, av1Packet(0x10, []byte{0xb0, 0x30})...)}, "~1:DECODER"},
		{"half a header", []step{last(1, av1Packet(0x10, []byte{0x34})...)}, "~1:DECODER"},
		{"an OBU larger than its element", []step{last(1, av1Packet(0x10, []byte{0x32, 9, 0x30})...)}, "~1:DECODER"},
		{"an OBU without its size", []step{last(1, av1Packet(0x10, []byte{0x32})...)}, "~1:DECODER"},
		{"a fragment that does not go on", []step{more(1, av1Packet(0x50, []byte{0x30})...), last(1, av1Packet(0x10, av1Frame)...)}, "~1:DECODER"},
		{"a fragment that never ends", []step{last(1, av1Packet(0x50, []byte{0x30})...), last(2, av1Packet(0x10, av1Frame)...)}, "~1:DECODER 2:" + td + frame},
		{"the rest of nothing", []step{first, last(2, av1Packet(0x90, []byte{1})...), last(3, av1Packet(0x10, av1Frame)...)}, "~1:" + td + frame + " 2:DECODER 3:" + td + frame},
		{"too large", []step{last(1, av1Packet(0x10, []byte{0x30}, make([]byte, 80))...)}, "~1:TOO_LARGE"},

		{"the stream starts in the middle of an OBU", []step{last(1, av1Packet(0x90, []byte{1})...), last(2, av1Packet(0x10, av1Frame)...)}, "~1:DAMAGED 2:" + td + frame},
		{"lost in the middle", []step{more(1, av1Packet(0x50, []byte{0x30})...), gap, last(1, av1Packet(0x90, []byte{1})...), last(2, av1Packet(0x10, av1Frame)...)}, "~1:DAMAGED 2:" + td + frame},
		{"lost at the beginning", []step{first, gap, last(2, av1Packet(0x90, []byte{1})...), last(3, av1Packet(0x10, av1Frame)...)}, "~1:" + td + frame + " ~2:DAMAGED 3:" + td + frame},
		{"lost between", []step{first, gap, last(3, av1Packet(0x10, av1Frame)...)}, "~1:" + td + frame + " ~3:" + td + frame},
		{"a sequence header alone is no unit", []step{last(1, av1Packet(0x18, av1Sequence)...), last(2, av1Packet(0x10, av1Frame)...)}, "~2:" + td + frame},
	})
}

// normalised gives the OBUs of a unit in one form: those of pion have their sizes in as few bytes as can be.
func normalised(unit []byte) (out []byte, ok bool) {
	for len(unit) > 0 {
		head := 1 + int(unit[0]>>2&1)
		if unit[0]&2 == 0 || head > len(unit) {
			return nil, false
		}
		size, width := leb128(unit[head:])
		if width == 0 || head+width+size > len(unit) {
			return nil, false
		}
		if unit[0]>>3&15 != obuDelimiter {
			out = append(append(out, unit[:head]...), byte(size>>16), byte(size>>8), byte(size))
			out = append(out, unit[head+width:head+width+size]...)
		}
		unit = unit[head+width+size:]
	}
	return out, true
}

// FuzzAV1Payload packs any OBUs with pion's payloader, and they must come out as they went in; and it compares what is made of any single
// payload with pion's depacketizer, wherever both take it.
func FuzzAV1Payload(f *testing.F) {
	for _, seed := range []string{"", "10", "10303002", "28030800aa301001", "0802101203303002", "503030", "90", "303002", "1032023002", "00ffffffff7f01", "20830800aa3030"} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint16(5))
	}
	f.Fuzz(func(t *testing.T, payload []byte, mtu uint16) {
		a := new(av1)
		if len(payload) == 0 {
			return
		}
		unit, err := a.add(nil, payload)
		if err == nil && a.opened && !a.open {
			got, ok := normalised(unit)
			if !ok {
				t.Fatalf("%x: %x is no sequence of OBUs", payload, unit)
			}
			checkRoundTrip(t, got, unit, 2+int(mtu)%1200)
		}
		compareWithPion(t, payload, unit, err == nil && !a.open)
	})
}

// checkRoundTrip sends a unit through pion's payloader.
func checkRoundTrip(t *testing.T, want, unit []byte, mtu int) {
	t.Helper()
	a := new(av1)
	var got []byte
	for _, p := range new(codecs.AV1Payloader).Payload(uint16(max(mtu, 16)), unit) {
		var err error
		if got, err = a.add(got, p); err != nil {
			t.Fatalf("%x: packet %x: %v", unit, p, err)
		}
	}
	if again, ok := normalised(got); a.open || !ok || !bytes.Equal(again, want) {
		t.Fatalf("%x came back as %x", unit, got)
	}
}

func compareWithPion(t *testing.T, payload, unit []byte, ok bool) {
	t.Helper()
	peer, err := new(codecs.AV1Depacketizer).Unmarshal(payload)
	if err != nil || !ok || hasOwnSize(payload) {
		return
	}
	want, sane := normalised(peer)
	got, _ := normalised(unit)
	if sane && !hasOddOBU(peer) && !bytes.Equal(got, want) {
		t.Fatalf("%x: %x, pion says %x", payload, unit, peer)
	}
}

// hasOwnSize tells whether an OBU of a payload has a size field. Where it is smaller than the element, pion believes the element.
func hasOwnSize(payload []byte) bool {
	h, rest, err := parseAV1(payload)
	for n := 0; err == nil && len(rest) > 0; n++ {
		var element []byte
		if element, rest, err = h.next(rest, n); len(element) > 0 && element[0]&2 != 0 {
			return true
		}
	}
	return false
}

// hasOddOBU tells whether a unit has OBUs that pion passes on and that are no business of a decoder's, or with the forbidden bit.
func hasOddOBU(unit []byte) bool {
	for len(unit) > 0 {
		head := 1 + int(unit[0]>>2&1)
		size, width := leb128(unit[head:])
		if kind := unit[0] >> 3 & 15; unit[0]&0x80 != 0 || kind == 0 || kind > obuRedundant {
			return true
		}
		unit = unit[head+width+size:]
	}
	return false
}
