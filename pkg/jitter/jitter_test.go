package jitter

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
)

var start = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func packet(number int, payload ...byte) *rtp.Packet {
	return &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(number)}, Payload: payload}
}

// script drives a buffer as its owner does. The words of a script are packets, "number" or "number~" for one without payload, and times,
// "@ms". Whenever the buffer names a time that has come, it is popped. The result has a word for each event: "number" for a packet, with
// "@ms" when it came out later than it arrived, and "[lost]" with "@ms" for a gap.
func script(t *testing.T, b *Buffer, words string) string {
	t.Helper()
	var out []string
	now := 0
	pop := func() {
		for {
			e, ok := b.Pop(at(now))
			if !ok {
				return
			}
			word := fmt.Sprint(uint16(e.Sequence))
			if e.Packet == nil {
				word = fmt.Sprintf("[%d]@%d", e.Lost, now)
			} else if uint16(e.Sequence) != e.Packet.SequenceNumber {
				t.Errorf("packet %d came out as %d", e.Packet.SequenceNumber, e.Sequence)
			}
			if e.Packet != nil && !e.Arrival.Equal(at(now)) {
				word += fmt.Sprintf("@%d", now)
			}
			out = append(out, word)
		}
	}
	for word := range strings.FieldsSeq(words) {
		if ms, ok := strings.CutPrefix(word, "@"); ok {
			until := number(t, ms)
			for next, ok := b.Next(); ok && !next.After(at(until)); next, ok = b.Next() {
				now = max(now, int(next.Sub(start).Milliseconds()))
				pop()
			}
			now = until
			continue
		}
		digits, padding := strings.CutSuffix(word, "~")
		p := packet(number(t, digits), 1)
		if padding {
			p.Payload = nil
		}
		b.Push(p, at(now))
		pop()
	}
	return strings.Join(out, " ")
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"in order", "1 @10 2 @20 3", "1 2 3"},
		{"swapped", "1 @10 3 @12 2", "1 2 3@12"},
		{"a retransmission in time", "1 @10 3 @20 4 @109 2", "1 2 3@109 4@109"},
		{"a loss is given up after the wait", "1 @10 3 @20 4 @500", "1 [1]@110 3@110 4@110"},
		{"the wait runs from when the loss was noticed", "1 @10 3 @50 5 @500", "1 [1]@110 3@110 [1]@150 5@150"},
		{"a retransmission starts no wait anew", "1 @10 4 @60 3 @500", "1 [1]@110 3@110 4@110"},
		{"neighbours are one gap", "1 @10 5 @500", "1 [3]@110 5@110"},
		{"too late", "1 @10 3 @200 2 4", "1 [1]@110 3@110 4"},
		{"duplicates", "1 1 @10 3 3 @20 2 2", "1 2 3@20"},
		{"the sequence wraps", "65534 65535 0 1", "65534 65535 0 1"},
		{"a loss at the wrap", "65534 @10 1 @500 2", "65534 [2]@110 1@110 2"},
		{"swapped at the wrap", "65534 0 65535 1", "65534 65535 0 1"},
		{"the first packet begins", "500 @10 499 501", "500 501"},
		{"fillers hold their place", "1 2~ 3 @10 5 @20 4~ 6", "1 3 5@20 6"},
		{"a filler shows a loss", "1 @10 3~ @500 4", "1 [1]@110 4"},
		{"a lost filler is a gap", "1 @10 3 @500", "1 [1]@110 3@110"},
		{"a filler may come first", "1~ 2", "2"},
		{"silence is no loss", "1 @60000 2", "1 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := script(t, New(Config{}), c.in); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
			}
		})
	}
}

func TestJumps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"a burst is lost", "1 @2000 3000 3001", "1 [2998]@2000 3000 3001"},
		{"what waited before the jump comes out first", "1 @10 3 5 @20 200 201", "1 [1]@20 3@20 [1]@20 5@20 [194]@20 200 201"},
		{"one beyond the window", "1 66 67", "1 [64]@0 66 67"},
		{"the last inside the window", "1 65 @100", "1 [63]@100 65@100"},
		{"a filler far ahead", "1 3000~ 3001", "1 [2998]@0 3001"},
		{"the source restarts: its second packet confirms", "40000 20000 20001 20002", "40000 [1]@0 20001 20002"},
		{"it restarts while packets wait", "40000 40002 20000 20001", "40000 [1]@0 40002 [1]@0 20001"},
		{"one wild packet is not a restart", "40000 20000 40001 20001 40002", "40000 40001 40002"},
		{"late packets in a row are not a restart", "40000 39000 39001 39002 40001", "40000 40001"},
		{"an old number after a restart", "40000 20000 20001 40001 20002", "40000 [1]@0 20001 [19999]@0 40001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := script(t, New(Config{Size: 64}), c.in); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
			}
		})
	}
}

func TestTheWindowGrowsToItsSize(t *testing.T) {
	t.Parallel()
	b := New(Config{Size: 1000})
	if got, want := script(t, b, "1 @5 3 100 1024 @104"), "1"; got != want {
		t.Errorf("inside the window: got %s, want %s", got, want)
	}
	if got, want := script(t, b, "@105"), "[1]@105 3@105 [96]@105 100@105 [923]@105 1024@105"; got != want {
		t.Errorf("after the wait: got %s, want %s", got, want)
	}
	if len(b.slots) != 1024 {
		t.Errorf("%d slots, want 1024", len(b.slots))
	}
}

func TestSetWait(t *testing.T) {
	t.Parallel()
	b := New(Config{Wait: 30 * time.Millisecond})
	script(t, b, "1 3")
	if next, ok := b.Next(); !ok || !next.Equal(at(30)) {
		t.Errorf("Next = %v, %v, want 30 ms", next.Sub(start), ok)
	}
	b.SetWait(200 * time.Millisecond)
	if got, want := script(t, b, "@199 @200"), "[1]@200 3@200"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPushSaysWhoOwnsThePacket(t *testing.T) {
	t.Parallel()
	b := New(Config{Size: 64})
	for _, c := range []struct {
		name   string
		packet *rtp.Packet
		kept   bool
	}{
		{"first", packet(10, 1), true},
		{"duplicate", packet(10, 1), false},
		{"filler", packet(11), false},
		{"after a hole", packet(13, 1), true},
		{"before the first", packet(9, 1), false},
		{"beyond the window", packet(2000, 1), true},
		{"while that waits to be popped", packet(12, 1), false},
	} {
		if kept := b.Push(c.packet, start); kept != c.kept {
			t.Errorf("%s: Push = %v, want %v", c.name, kept, c.kept)
		}
	}
	want := Stats{Packets: 3, Fillers: 1, Duplicate: 1, Late: 1, Overrun: 1}
	if got := b.Stats(); got != want {
		t.Errorf("stats %+v\nwant  %+v", got, want)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	b := New(Config{})
	script(t, b, "40000 40000 40002 40005~ @300 40001 40006 20007 20008 20009")
	want := Stats{Packets: 5, Fillers: 1, Late: 3, Lost: 4, Gaps: 3, Restarts: 1}
	if got := b.Stats(); got != want {
		t.Errorf("stats %+v\nwant  %+v", got, want)
	}
}

func TestNothingMoreMeansNoTimer(t *testing.T) {
	t.Parallel()
	b := New(Config{})
	if next, ok := b.Next(); ok {
		t.Errorf("an empty buffer wants to be popped at %v", next)
	}
	script(t, b, "1 2~ 3")
	if next, ok := b.Next(); ok {
		t.Errorf("a buffer without holes wants to be popped at %v", next)
	}
	b.Push(packet(4, 1), at(7))
	if next, ok := b.Next(); !ok || !next.Equal(at(7)) {
		t.Errorf("Next = %v, %v with a packet ready", next, ok)
	}
}
