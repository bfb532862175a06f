package jitter

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"
)

// delivery is one packet as the network hands it over.
type delivery struct {
	number  int // not wrapped
	at      time.Duration
	padding bool
}

// network draws what becomes of a source's packets, one a millisecond: lost, late, twice, padding. The numbers are those that a buffer
// gives, which begins to count at the 16 bits of the first one.
func network(t *rapid.T) (sent []delivery) {
	first := rapid.IntRange(0, 65535).Draw(t, "first")
	for i := range rapid.IntRange(1, 300).Draw(t, "packets") {
		d := delivery{number: first + i, at: time.Duration(i) * time.Millisecond}
		switch rapid.IntRange(0, 9).Draw(t, "fate") {
		case 0:
			continue
		case 1:
			d.at += time.Duration(rapid.IntRange(0, 150).Draw(t, "delay")) * time.Millisecond
		case 2:
			sent = append(sent, d)
		case 3:
			d.padding = true
		}
		sent = append(sent, d)
	}
	slices.SortStableFunc(sent, func(a, b delivery) int { return int(a.at - b.at) })
	if len(sent) > 0 && sent[0].number > 0xffff {
		for i := range sent {
			sent[i].number -= 1 << 16
		}
	}
	return sent
}

// receiver checks what comes out.
type receiver struct {
	expect  int64 // the next sequence, fillers aside
	started bool
	fillers map[int64]bool
	owned   map[*rtp.Packet]bool
	packets uint64
	lost    uint64
}

func (r *receiver) pop(t *rapid.T, b *Buffer, now time.Time) {
	for e, ok := b.Pop(now); ok; e, ok = b.Pop(now) {
		if (e.Packet == nil) != (e.Lost > 0) {
			t.Fatalf("event %+v is neither packet nor gap", e)
		}
		for r.started && r.fillers[r.expect] {
			r.expect++
		}
		if r.started && e.Sequence != r.expect {
			t.Fatalf("event at %d, want %d", e.Sequence, r.expect)
		}
		r.started = true
		r.expect = e.Sequence + 1
		if e.Packet == nil {
			r.expect = e.Sequence + int64(e.Lost)
			r.lost += uint64(e.Lost)
			continue
		}
		if !r.owned[e.Packet] {
			t.Fatalf("packet %d came out twice, or was never taken", e.Sequence)
		}
		delete(r.owned, e.Packet)
		r.packets++
	}
}

func TestWhatComesOutIsTheSequence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wait := time.Duration(rapid.IntRange(1, 120).Draw(t, "wait")) * time.Millisecond
		b := New(Config{Wait: wait, Size: 64 << rapid.IntRange(0, 5).Draw(t, "size")})
		sent := network(t)
		r := &receiver{fillers: map[int64]bool{}, owned: map[*rtp.Packet]bool{}}
		newest := -1 << 20
		for _, d := range sent {
			now := start.Add(d.at)
			for next, ok := b.Next(); ok && !next.After(now); next, ok = b.Next() {
				r.pop(t, b, next)
			}
			p := packet(d.number, 1)
			if d.padding {
				p.Payload = nil
			}
			fillers := b.Stats().Fillers
			if b.Push(p, now) {
				r.owned[p] = true
			}
			if b.Stats().Fillers > fillers {
				r.fillers[int64(d.number)] = true
			}
			r.pop(t, b, now)
			// A buffer that holds something names a time for it, and no packet newer than the newest is ever waited for.
			next, ok := b.Next()
			if len(r.owned) > 0 && (!ok || next.Sub(now) > wait) {
				t.Fatalf("%d packets held, next %v, %v", len(r.owned), next.Sub(now), ok)
			}
			newest = max(newest, d.number)
		}
		r.pop(t, b, start.Add(time.Hour))
		if len(r.owned) > 0 {
			t.Fatalf("%d packets never came out", len(r.owned))
		}
		s := b.Stats()
		if s.Packets != r.packets || s.Lost != r.lost || s.Packets+s.Fillers+s.Duplicate+s.Late != uint64(len(sent)) || s.Overrun != 0 {
			t.Fatalf("stats %+v, %d packets and %d lost came out of %d", s, r.packets, r.lost, len(sent))
		}
		if len(sent) > 0 && r.started && r.expect > int64(newest)+1 {
			t.Fatalf("came out to %d, sent to %d", r.expect, newest)
		}
	})
}

// FuzzBuffer pushes any sequence numbers at any times, four bytes each: number, milliseconds since the last one, flags.
func FuzzBuffer(f *testing.F) {
	for _, seed := range [][]uint16{
		{1, 2, 3}, {1, 3, 2}, {65534, 65535, 0}, {1, 3000, 3001}, {40000, 20000, 20001}, {1, 66}, {1, 5, 3, 3}, {0, 32768, 32769},
	} {
		var b []byte
		for _, n := range seed {
			b = append(binary.BigEndian.AppendUint16(b, n), 10, 0)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := New(Config{Size: 128})
		now, last := start, int64(-1<<62)
		owned := map[*rtp.Packet]bool{}
		for ; len(data) >= 4; data = data[4:] {
			now = now.Add(time.Duration(data[2]) * time.Millisecond)
			p := packet(int(binary.BigEndian.Uint16(data)), 1)
			if data[3]&1 != 0 {
				p.Payload = nil
			}
			if b.Push(p, now) {
				owned[p] = true
			}
			for e, ok := b.Pop(now); ok; e, ok = b.Pop(now) {
				if e.Sequence <= last || e.Packet == nil && e.Lost < 1 || e.Packet != nil && !owned[e.Packet] {
					t.Fatalf("event %+v after sequence %d", e, last)
				}
				delete(owned, e.Packet)
				last = e.Sequence + int64(max(0, e.Lost-1))
			}
			if len(owned) > 128 {
				t.Fatalf("%d packets held", len(owned))
			}
		}
		for e, ok := b.Pop(now.Add(time.Hour)); ok; e, ok = b.Pop(now.Add(time.Hour)) {
			delete(owned, e.Packet)
		}
		if _, ok := b.Next(); ok || len(owned) > 0 {
			t.Fatalf("%d packets left at the end, Next says %v", len(owned), ok)
		}
	})
}

// BenchmarkBuffer is the cost of a packet on a line that loses one in 50 and delivers the retransmission 40 packets later.
func BenchmarkBuffer(b *testing.B) {
	buffer := New(Config{})
	packets := make([]rtp.Packet, 4096)
	for i := range packets {
		packets[i].Payload = []byte{1}
	}
	now, i := start, 0
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		number := i
		if i%50 == 0 && i > 0 {
			number = -1
		}
		for _, n := range []int{number, i - 40} {
			if n < 0 || n != i && n%50 != 0 {
				continue
			}
			p := &packets[n%len(packets)]
			p.SequenceNumber = uint16(n)
			buffer.Push(p, now)
		}
		for _, ok := buffer.Pop(now); ok; _, ok = buffer.Pop(now) {
		}
		i++
	}
}
