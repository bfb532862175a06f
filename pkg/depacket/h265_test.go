package depacket

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
)

// hevc gives a NAL unit of a type and temporal layer.
func hevc(kind, layer byte, body ...byte) []byte {
	return append([]byte{kind << 1, layer + 1}, body...)
}

// The shortest NAL units with the bits that matter. A picture's first slice has the first bit of its header set. The sets allow three layers.
var (
	hVPS      = hevc(32, 0, 0x0c)
	hSPS      = hevc(33, 0, 0x05)
	hPPS      = hevc(34, 0, 0xc0)
	hIDR      = hevc(19, 0, 0xaf)
	hCRA      = hevc(21, 0, 0xaf)
	hTrail    = hevc(1, 0, 0xd0)
	hSecond   = hevc(1, 0, 0x50)
	hTop      = hevc(0, 2, 0xd0)                    // no picture of its layer, the highest, depends on it
	hRASL     = hevc(9, 0, 0xd0)                    //
	hUpper    = []byte{0x02, 0x09, 0xd0}            // a slice of nuh_layer_id 1
	hAUD      = hevc(35, 0, 0x50)                   //
	hRecover0 = hevc(39, 0, 0x06, 0x01, 0xc0, 0x80) // recovery_poc_cnt 0
	hRecover4 = hevc(39, 0, 0x06, 0x01, 0x11, 0x00) // recovery_poc_cnt 4, codeNum 7 is 0001000
	hRecoverM = hevc(39, 0, 0x06, 0x01, 0x28, 0x80) // recovery_poc_cnt -2, codeNum 4 is 00101
	hSets     = [][]byte{hVPS, hSPS, hPPS}          //
	hKey      = hevcAP(append(hSets, hIDR)...)      //
	hOpen     = hevcAP(append(hSets, hCRA)...)      //
	hKeyText  = "40010c|420105|4401c0|2601af"       // hKey in Annex B
	hOpenText = "40010c|420105|4401c0|2a01af"       //
)

// hevcAP aggregates NAL units (RFC 7798 section 4.4.2).
func hevcAP(nals ...[]byte) []byte {
	out := []byte{48 << 1, 1}
	for _, n := range nals {
		out = append(append(out, byte(len(n)>>8), byte(len(n))), n...)
	}
	return out
}

// hevcFU gives a fragment of a NAL unit (RFC 7798 section 4.4.3); flags are 0x80 for the first and 0x40 for the last.
func hevcFU(kind, flags byte, body ...byte) []byte {
	return append([]byte{49 << 1, 1, flags | kind}, body...)
}

func TestH265(t *testing.T) {
	t.Parallel()
	testUnits(t, media.H265, []unitTest{
		{"a single NAL unit", []step{last(1, hTrail...)}, "~1:|0201d0"},
		{"several slices", []step{more(1, hTrail...), more(1, hSecond...), last(1, hSecond...)}, "~1:|0201d0|020150|020150"},
		{"an aggregate", []step{last(1, hKey...)}, "~1:|" + hKeyText + "+key"},
		{"parameter sets apart", []step{more(1, hVPS...), more(1, hSPS...), more(1, hPPS...), last(1, hIDR...)}, "~1:|" + hKeyText + "+key"},
		{"an open group", []step{last(1, hOpen...)}, "~1:|" + hOpenText + "+key"},
		{"a broken link", []step{last(1, hevcAP(hVPS, hSPS, hPPS, hevc(16, 0, 0xaf))...)}, "~1:|40010c|420105|4401c0|2001af+key"},
		{"a reserved type is no key", []step{last(1, hevcAP(hVPS, hSPS, hPPS, hevc(22, 0, 0xaf))...)}, "~1:|40010c|420105|4401c0|2c01af"},
		{"fragments", []step{more(1, hevcFU(1, 0x80, 0xd0)...), more(1, hevcFU(1, 0, 1)...), last(1, hevcFU(1, 0x40, 2)...)}, "~1:|0201d00102"},
		{"fragments of type 0", []step{more(1, hevcFU(0, 0x80, 0xd0)...), last(1, hevcFU(0, 0x40, 2)...)}, "~1:|0001d002+disposable"},
		{"supplemental information in fragments goes no further", []step{
			more(1, hevcFU(39, 0x80, 5)...), more(1, hevcFU(39, 0x40, 1)...), more(1, hevcFU(1, 0x80, 0xd0)...), last(1, hevcFU(1, 0x40, 2)...),
		}, "~1:|0201d002"},
		{"one fragment, first and last", []step{last(1, hevcFU(1, 0xc0, 0xd0)...)}, "~1:|0201d0"},
		{"an aggregate and fragments", []step{
			more(1, hevcAP(hSets...)...), more(1, hevcFU(19, 0x80, 0xaf)...), last(1, hevcFU(19, 0x40, 1)...),
		}, "~1:|40010c|420105|4401c0|2601af01+key"},
		{"no marker: the next timestamp ends it", []step{more(1, hTrail...), more(1, hSecond...), last(2, hTrail...)}, "~1:|0201d0|020150 2:|0201d0"},

		{"nobody needs the highest layer", []step{last(1, hKey...), last(2, hTop...)}, "~1:|" + hKeyText + "+key 2:|0003d0+disposable"},
		{"of lower layers somebody may", []step{last(1, hKey...), last(2, hevc(0, 1, 0xd0)...)}, "~1:|" + hKeyText + "+key 2:|0002d0"},
		{"a reference of the highest layer", []step{last(1, hKey...), last(2, hevc(1, 2, 0xd0)...)}, "~1:|" + hKeyText + "+key 2:|0203d0"},
		{"another layer of depth or quality", []step{more(1, hTrail...), last(1, hUpper...)}, "~1:|0201d0|0209d0"},
		{"nothing else than another layer", []step{last(1, hUpper...), last(2, hTrail...)}, "~2:|0201d0"},

		{"a key frame without parameter sets is none", []step{last(1, hIDR...)}, "~1:DAMAGED"},
		{"nor is one without the first of them", []step{last(1, hevcAP(hSPS, hPPS, hIDR)...)}, "~1:|420105|4401c0|2601af"},
		{"nor is one without the last of them", []step{last(1, hevcAP(hVPS, hSPS, hIDR)...)}, "~1:|40010c|420105|2601af"},
		{"parameter sets come late", []step{last(1, hTrail...), last(2, hIDR...), last(3, hevcAP(hSets...)...), last(4, hIDR...)},
			"~1:|0201d0 2:|2601af 4:|" + hKeyText + "+key"},
		{"remembered parameter sets are put before a key frame", []step{last(1, hKey...), last(2, hTrail...), last(3, hIDR...)},
			"~1:|" + hKeyText + "+key 2:|0201d0 3:|" + hKeyText + "+key"},
		{"but not across a loss: it may have been new ones", []step{last(1, hKey...), gap, last(2, hIDR...), last(3, hIDR...)},
			"~1:|" + hKeyText + "+key ~2:DAMAGED 3:|" + hKeyText + "+key"},
		{"a key frame after a loss with its own", []step{last(1, hTrail...), gap, last(2, hKey...)}, "~1:|0201d0 ~2:|" + hKeyText + "+key"},
		{"fragmented parameter sets are not remembered", []step{
			last(1, hKey...), more(2, hevcFU(33, 0x80, 5)...), more(2, hevcFU(33, 0x40, 2)...), last(2, hIDR...), last(3, hIDR...),
		}, "~1:|" + hKeyText + "+key 2:|42010502|40010c|4401c0|2601af+key 3:|40010c|4401c0|2601af"},

		// Supplemental information is read here and goes no further.
		{"a recovery point", []step{last(1, hevcAP(hVPS, hSPS, hPPS, hRecover0, hTrail)...)}, "~1:|40010c|420105|4401c0|0201d0+recovers0"},
		{"a recovery point some pictures on", []step{last(1, hevcAP(hVPS, hSPS, hPPS, hRecover4, hTrail)...)},
			"~1:|40010c|420105|4401c0|0201d0+recovers20"},
		{"a recovery point of the past", []step{last(1, hevcAP(hVPS, hSPS, hPPS, hRecoverM, hTrail)...)},
			"~1:|40010c|420105|4401c0|0201d0+recovers0"},
		{"a recovery point with remembered parameter sets", []step{last(1, hKey...), last(2, hevcAP(hRecover0, hTrail)...)},
			"~1:|" + hKeyText + "+key 2:|40010c|420105|4401c0|0201d0+recovers0"},
		{"a recovery point without parameter sets", []step{last(1, hevcAP(hRecover0, hTrail)...)}, "~1:|0201d0"},
		{"a recovery point at a key frame is a key frame", []step{last(1, hevcAP(hVPS, hSPS, hPPS, hRecover0, hIDR)...)},
			"~1:|40010c|420105|4401c0|2601af+key"},

		{"the stream starts with a later slice", []step{more(1, hSecond...), last(1, hSecond...), last(2, hTrail...)}, "~1:DAMAGED 2:|0201d0"},
		{"the first slice is lost", []step{last(1, hTrail...), gap, last(2, hSecond...), last(3, hTrail...)}, "~1:|0201d0 ~2:DAMAGED 3:|0201d0"},
		{"a slice in the middle is lost", []step{more(1, hTrail...), gap, last(1, hSecond...), last(2, hTrail...)}, "~1:DAMAGED 2:|0201d0"},
		{"the lost one is not needed", []step{last(1, hKey...), more(2, hTop...), gap, last(2, hTop...), last(3, hTrail...)},
			"~1:|" + hKeyText + "+key 2:DAMAGED+disposable 3:|0201d0"},
		{"without a loss a later slice comes first", []step{last(1, hTrail...), last(2, hSecond...)}, "~1:|0201d0 2:DECODER"},
		{"more after the marker: markers end nothing here", []step{
			last(1, hTrail...), last(1, hSecond...), last(2, hTrail...), last(2, hSecond...), last(3, hTrail...), last(3, hSecond...), last(4, hTrail...),
		}, "~1:|0201d0 ~2:|0201d0|020150 3:|0201d0|020150"},
		{"another picture of the same time", []step{last(1, hTrail...), last(1, hevcAP(hAUD, hTrail)...)}, "~1:|0201d0 1:|460150|0201d0"},
		{"another key frame of the same time", []step{last(1, hKey...), last(1, hevcFU(19, 0xc0, 0xaf)...)}, "~1:|" + hKeyText + "+key 1:|" + hKeyText + "+key"},

		{"the end of a fragmented unit is missing", []step{more(1, hevcFU(1, 0x80, 0xd0)...), last(1, hTrail...)}, "~1:DECODER"},
		{"a fragmented unit begins twice", []step{more(1, hevcFU(1, 0x80, 0xd0)...), last(1, hevcFU(1, 0xc0, 0xd0)...)}, "~1:DECODER"},
		{"a fragmented unit changes its type", []step{more(1, hevcFU(1, 0x80, 0xd0)...), last(1, hevcFU(19, 0x40, 1)...)}, "~1:DECODER"},
		{"a fragmented unit never ends", []step{last(1, hevcFU(1, 0x80, 0xd0)...), last(2, hTrail...)}, "~1:DECODER 2:|0201d0"},
		{"the beginning of a fragmented unit is missing", []step{last(1, hevcFU(1, 0x40, 0xd0)...), last(2, hTrail...)}, "~1:DAMAGED 2:|0201d0"},
		{"a fragment of nothing", []step{last(1, hevcFU(1, 0xc0)...)}, "~1:DECODER"},
		{"a fragment of an aggregate", []step{last(1, hevcFU(48, 0xc0, 1)...)}, "~1:DECODER"},
		{"an aggregate overruns", []step{last(1, 96, 1, 0, 9, 2, 1, 0xd0)}, "~1:DECODER"},
		{"an aggregate with half a size", []step{last(1, append(hevcAP(hTrail), 0)...)}, "~1:DECODER"},
		{"an aggregate with half a header", []step{last(1, append(hevcAP(hTrail), 0, 1, 2)...)}, "~1:DECODER"},
		{"an aggregate in an aggregate", []step{last(1, hevcAP(hevcAP(hTrail))...)}, "~1:DECODER"},
		{"a forbidden bit", []step{last(1, 0x82, 1, 0xd0)}, "~1:DECODER"},
		{"a temporal layer that cannot be", []step{last(1, 2, 0, 0xd0)}, "~1:DECODER"},
		{"half a header", []step{last(1, 2), last(2, 96), last(3, 98, 1)}, "~1:DECODER 2:DECODER 3:DECODER"},
		{"other packet types", []step{last(1, hevc(50, 0, 1, 1)...), last(2, hevc(63, 0, 1)...)}, "~1:DECODER 2:DECODER"},
		{"too large", []step{more(1, append(hevc(1, 0, 0xd0), make([]byte, 70)...)...), last(1, hSecond...), last(2, hTrail...)}, "~1:TOO_LARGE 2:|0201d0"},
	})
}

// TestH265TellsOfLayers reads what the types of NAL units say of what depends on what.
func TestH265TellsOfLayers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, layer byte
		want        string // layer, then s for Switch, f for Fresh, l for Leading, d for Disposable
	}{
		{1, 0, "0"}, {0, 0, "0"}, {1, 1, "1"}, {0, 2, "2d"}, {2, 2, "2sfd"}, {3, 1, "1sf"}, {4, 2, "2fd"}, {5, 1, "1f"},
		{6, 0, "0"}, {6, 2, "2d"}, {7, 2, "2"}, {8, 0, "0l"}, {8, 2, "2ld"}, {9, 2, "2l"}, {15, 2, "2"}, {19, 0, "0"},
	} {
		t.Run(fmt.Sprint(c.kind, " of layer ", c.layer), func(t *testing.T) {
			t.Parallel()
			u := feed(assembler(t, media.H265, 0), last(1, hKey...), last(2, hevc(c.kind, c.layer, 0xd0)...))[1]
			got := fmt.Sprint(u.Layer)
			for _, flag := range []struct {
				set  bool
				word string
			}{{u.Switch, "s"}, {u.Fresh, "f"}, {u.Leading, "l"}, {u.Disposable, "d"}} {
				if flag.set {
					got += flag.word
				}
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestLeadingPicturesNeedWhatWasBefore starts with a picture of an open group: those shown before it cannot be had, whatever becomes of them,
// and the decoder is told. Later ones, while nothing is missing, can.
func TestLeadingPicturesNeedWhatWasBefore(t *testing.T) {
	t.Parallel()
	a, g := assembler(t, media.H265, 0), new(Gate)
	var got []string
	for _, u := range feed(a,
		last(1, hOpen...), last(2, hRASL...), more(3, hRASL...), gap, last(3, hSecond...), last(4, hTrail...),
		last(5, hOpen...), last(6, hRASL...), last(7, hTrail...),
		last(8, hOpen...), last(9, hRASL...), last(10, hTrail...),
	) {
		verdict := g.Step(&u)
		word := fmt.Sprint(u.RTP.Timestamp, verdict)
		if bytes.Contains(u.Data, []byte{0, 0, 1, 16 << 1}) {
			word += " broken link"
		}
		got = append(got, word)
	}
	want := []string{
		"1 decode broken link", "2 refuse", "3 refuse", "4 decode", "5 decode", "6 decode", "7 decode", "8 decode", "9 decode", "10 decode",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestH265AgreesWithPion packs pictures with pion's payloader and holds what comes out against what went in.
func TestH265AgreesWithPion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var annexB []byte
		for i, n := 0, rapid.IntRange(1, 4).Draw(t, "slices"); i < n; i++ {
			nal := bytes.Clone(hTrail)
			if i > 0 {
				nal = bytes.Clone(hSecond)
			}
			body := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 300).Draw(t, "body")
			annexB = append(append(append(annexB, 0, 0, 0, 1), nal...), body...)
		}
		payloads := new(codecs.H265Payloader).Payload(rapid.Uint16Range(20, 400).Draw(t, "mtu"), annexB)
		a, err := New(media.H265, 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []Unit
		for i, payload := range payloads {
			got = a.Push(&rtp.Packet{Header: rtp.Header{Timestamp: 1, Marker: i == len(payloads)-1}, Payload: payload}, start)
		}
		if len(got) != 1 || !got[0].Whole() || !bytes.Equal(got[0].Data, annexB) {
			t.Fatalf("got %s\nwant %x", brief(got), annexB)
		}
	})
}
