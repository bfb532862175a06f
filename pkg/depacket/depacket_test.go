package depacket

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
)

var start = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// step is a packet, or a gap when the payload is nil.
type step struct {
	stamp   uint32
	payload []byte
	marker  bool
}

var gap = step{}

func more(stamp uint32, payload ...byte) step { return step{stamp, payload, false} }
func last(stamp uint32, payload ...byte) step { return step{stamp, payload, true} }

func assembler(tb testing.TB, codec media.Codec, most int) *Assembler {
	tb.Helper()
	a, err := New(codec, most)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// feed gives what comes of steps that arrive a millisecond apart.
func feed(a *Assembler, steps ...step) []Unit {
	var out []Unit
	for i, s := range steps {
		if s.payload == nil {
			out = append(out, a.Gap()...)
			continue
		}
		p := &rtp.Packet{Header: rtp.Header{SSRC: 7, Timestamp: s.stamp, Marker: s.marker}, Payload: s.payload}
		out = append(out, a.Push(p, at(i))...)
	}
	return out
}

// brief writes a unit as "timestamp:what", with its data in hexadecimal after Annex B start codes have become "|".
func brief(units []Unit) string {
	var words []string
	for _, u := range units {
		word := fmt.Sprintf("%d:", u.RTP.Timestamp)
		if u.Whole() {
			var nals []string
			for nal := range bytes.SplitSeq(u.Data, []byte{0, 0, 0, 1}) {
				nals = append(nals, fmt.Sprintf("%x", nal))
			}
			word += strings.Join(nals, "|")
		}
		word += u.Drop.String() + u.Error.String()
		if u.Key {
			word += "+key"
		}
		if u.Disposable {
			word += "+disposable"
		}
		if u.Recovers {
			word += fmt.Sprintf("+recovers%d", u.Recovery)
		}
		if u.Missing {
			word = "~" + word
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

type unitTest struct {
	name  string
	steps []step
	want  string
}

func testUnits(t *testing.T, codec media.Codec, tests []unitTest) {
	t.Helper()
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := brief(feed(assembler(t, codec, 64), c.steps...)); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestNewRefusesOtherCodecs(t *testing.T) {
	t.Parallel()
	for _, codec := range []media.Codec{media.CodecUnknown, media.JPEG} {
		if _, err := New(codec, 0); err == nil {
			t.Errorf("New(%v) did not fail", codec)
		}
	}
}

func TestAUnitHasTheArrivalsOfItsPackets(t *testing.T) {
	t.Parallel()
	a := assembler(t, media.VP8, 0)
	for i, ms := range []int{30, 10, 20} { // the first was lost and came again
		p := &rtp.Packet{Header: rtp.Header{SSRC: 7, Timestamp: 9, Marker: i == 2}, Payload: []byte{0, 1, 1, 1}}
		if i == 0 {
			p.Payload[0] = 0x10
		}
		for _, u := range a.Push(p, at(ms)) {
			want := media.RTP{Valid: true, SSRC: 7, Timestamp: 9}
			if !u.First.Equal(at(10)) || !u.Last.Equal(at(30)) || u.RTP != want || u.Codec != media.VP8 {
				t.Errorf("unit %+v", u)
			}
			return
		}
	}
	t.Error("no unit")
}

func TestTwoSourcesAreTwoUnits(t *testing.T) {
	t.Parallel()
	a := assembler(t, media.VP8, 0)
	for ssrc := range uint32(2) {
		p := &rtp.Packet{Header: rtp.Header{SSRC: ssrc, Timestamp: 9}, Payload: []byte{0x10, 1, 1, 1}}
		units := a.Push(p, start)
		if len(units) != int(ssrc) || len(units) == 1 && !units[0].Whole() {
			t.Errorf("source %d ended %s", ssrc, brief(units))
		}
	}
}

func TestBuffersAreReused(t *testing.T) {
	t.Parallel()
	a := assembler(t, media.VP8, 0)
	first := feed(a, last(1, 0x10, 1, 2, 3))[0].Data
	second := feed(a, last(2, 0x10, 1, 4, 5))[0].Data
	if &first[0] == &second[0] || !bytes.Equal(first, []byte{1, 2, 3}) {
		t.Fatal("a unit was written over the data of another one")
	}
	a.Recycle(first)
	if third := feed(a, last(3, 0x10, 1, 6, 7))[0].Data; &third[0] != &first[0] {
		t.Error("the recycled buffer was not used")
	}
	a.Recycle(make([]byte, 0, recycledMost+1))
	if a.free != nil {
		t.Error("a huge buffer is kept")
	}
}

func BenchmarkAssembler(b *testing.B) {
	for _, c := range []struct {
		codec         media.Codec
		first, middle []byte
	}{
		{media.VP8, []byte{0x90, 0x80, 0x81, 0x23, 0x01}, []byte{0x80, 0x80, 0x81, 0x23}},
		{media.H264, []byte{0x7c, 0x81, 0x9a, 0x00}, []byte{0x7c, 0x01, 0x00, 0x00}},
	} {
		b.Run(c.codec.String(), func(b *testing.B) {
			const packets = 8
			a := assembler(b, c.codec, 0)
			p := &rtp.Packet{Payload: make([]byte, 1200)}
			b.ReportAllocs()
			b.SetBytes(packets * 1200)
			for b.Loop() {
				p.Timestamp++
				for i := range packets {
					copy(p.Payload, c.middle)
					if i == 0 {
						copy(p.Payload, c.first)
					}
					p.Marker = i == packets-1
					if c.codec == media.H264 && p.Marker {
						p.Payload[1] |= 0x40
					}
					for _, u := range a.Push(p, start) {
						if !u.Whole() {
							b.Fatal(brief([]Unit{u}))
						}
						a.Recycle(u.Data)
					}
				}
			}
		})
	}
}

// A packet that comes after its unit's marker has the assembler wait for the next timestamp from then on, but not for ever.
func TestMarkersAreBelievedAgain(t *testing.T) {
	t.Parallel()
	a := assembler(t, media.VP8, 64)
	stamp := uint32(0)
	// waits gives how many units end with the next one's first packet, until one ends with its marker.
	waits := func() (n int) {
		for ; n < 1000; n++ {
			stamp++
			feed(a, more(stamp, 0x10, 1))
			if got := feed(a, last(stamp, 0, 2)); len(got) == 1 && got[0].RTP.Timestamp == stamp {
				return n
			}
		}
		return n
	}
	if n := waits(); n != 0 {
		t.Fatalf("at first %d units are held back", n)
	}
	for _, want := range []int{leastTrust, 2 * leastTrust, 4 * leastTrust} {
		feed(a, last(stamp, 0, 3))
		if n := waits(); n != want {
			t.Errorf("after a packet behind its marker %d units are held back, want %d", n, want)
		}
	}
	feed(a, last(stamp, 0, 3))
	for range 1000 { // a sender that does it with every unit is never believed
		stamp++
		if got := feed(a, last(stamp, 0x10, 1), last(stamp, 0, 2)); len(got) == 1 && got[0].RTP.Timestamp == stamp {
			t.Fatalf("unit %d ended with its first marker", stamp)
		}
	}
}
