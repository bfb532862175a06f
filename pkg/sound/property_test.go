package sound

import (
	"encoding/binary"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
)

// listener does what a session does with the steps of a timeline, and checks that nothing is missing and nothing is there twice.
type listener struct {
	rates   []int
	totals  []int64 // samples made for each rate since the segment began
	windows []*Windows
	next    []int64 // the window to come
	begun   int64   // the tick at which the segment began
	end     int64
	count   int
}

func newListener() *listener {
	l := &listener{rates: []int{8000, 16000, 44100, 48000}, end: -1}
	for _, rate := range l.rates {
		l.windows = append(l.windows, NewWindows(media.SoundInput{Rate: rate, Window: rate / 30, Hop: rate / 50, Context: rate / 250}, 0))
	}
	l.totals, l.next = make([]int64, len(l.rates)), make([]int64, len(l.rates))
	return l
}

// fataler is what rapid and testing have in common.
type fataler interface{ Fatalf(string, ...any) }

func (l *listener) hear(t fataler, line *Timeline, s Step) {
	if s.To <= s.From || s.Op < Decode || s.Op > Silence || (s.Data != nil) != (s.Op <= Recover) || s.Overlap < 0 || s.Overlap > 0 && s.Op != Decode {
		t.Fatalf("step %+v", s)
	}
	switch {
	case s.Begins:
		if s.From < l.end || s.Op != Decode {
			t.Fatalf("a segment begins with %+v, before tick %d", s, l.end)
		}
		l.begun = s.From
	case s.From != l.end:
		t.Fatalf("step %+v after tick %d", s, l.end)
	}
	l.end = s.To
	for i, rate := range l.rates {
		from, to := Samples(s.From, line.Clock(), rate), Samples(s.To, line.Clock(), rate)
		w := l.windows[i]
		if s.Begins {
			w.Restart(from)
			l.totals[i], l.next[i] = 0, from
		}
		l.totals[i] += to - from
		if want := to - Samples(l.begun, line.Clock(), rate); l.totals[i] != want {
			t.Fatalf("%d samples at %d Hz to tick %d, want %d", l.totals[i], rate, s.To, want)
		}
		l.cut(t, i, w, from, to)
	}
}

// cut writes samples that say what their place is, and finds them in the windows.
func (l *listener) cut(t fataler, i int, w *Windows, from, to int64) {
	samples := make([]int16, to-from)
	for j := range samples {
		samples[j] = int16(from + int64(j))
	}
	payload := make([]byte, 2*w.Input().Samples())
	for len(samples) > 0 {
		samples = samples[w.Write(samples, Part{Arrival: start}):]
		for v, ok := w.Take(payload); ok; v, ok = w.Take(payload) {
			if v.First != l.next[i] {
				t.Fatalf("window at %d, want %d", v.First, l.next[i])
			}
			l.next[i] += int64(w.Input().Hop)
			l.count++
			for j := range w.Input().Window {
				place := 2 * (w.Input().Context + j)
				if got := int16(binary.LittleEndian.Uint16(payload[place:])); got != int16(v.First+int64(j)) {
					t.Fatalf("sample %d of the window at %d is %d", j, v.First, got)
				}
			}
		}
	}
}

func TestWhateverComesTheTimelineHasNoHole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		opus := rapid.Bool().Draw(t, "opus")
		clock, frame := 8000, int64(20)
		if opus {
			clock, frame = 48000, 120
		}
		line, l := NewTimeline(clock, 0, opus), newListener()
		stamp := rapid.Uint32().Draw(t, "first")
		var sent int64 // ticks of the span so far, while nothing but loss, silence and small errors happens
		began, honest := stamp, true
		now := start
		for range rapid.IntRange(1, 80).Draw(t, "packets") {
			ticks := frame * int64(rapid.IntRange(1, 48).Draw(t, "length"))
			data := []byte{1}
			pass := ticks
			switch rapid.IntRange(0, 11).Draw(t, "fate") {
			case 0, 1:
				line.Lose(rapid.IntRange(1, 5).Draw(t, "lost"))
				stamp += uint32(ticks)
				pass += ticks
				data = nil
			case 3: // silence
				gap := rapid.Int64Range(1, int64(clock)*3/2).Draw(t, "gap")
				stamp, pass = stamp+uint32(gap), pass+gap
			case 4:
				stamp += uint32(rapid.IntRange(-4, 4).Draw(t, "wobble"))
			case 5:
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					stamp, honest = rapid.Uint32().Draw(t, "jump"), false
				}
			}
			now = now.Add(time.Duration(pass) * time.Second / time.Duration(clock))
			if data == nil {
				continue
			}
			if l.end < 0 {
				began = stamp
			}
			for _, s := range line.Push(Packet{Timestamp: stamp, Ticks: ticks, Data: data, Arrival: now}) {
				l.hear(t, line, s)
			}
			if l.begun > 0 {
				honest = false // a loss that was too long
			}
			sent = max(sent, int64(int32(stamp-began))+ticks)
			stamp += uint32(ticks)
			if want := uint32(l.end - l.begun); honest && int64(want) != sent {
				t.Fatalf("%d ticks of timeline for a span of %d", want, sent)
			}
		}
	})
}

// FuzzTimeline pushes any packets, eight bytes each: how far the timestamp goes on, length, what was lost before.
func FuzzTimeline(f *testing.F) {
	seed := func(steps ...[3]int) []byte {
		var b []byte
		for _, s := range steps {
			b = append(binary.BigEndian.AppendUint32(b, uint32(s[0])), byte(s[1]>>8), byte(s[1]), byte(s[2]), 20)
		}
		return b
	}
	f.Add(seed([3]int{0, 960}, [3]int{960, 960}, [3]int{1920, 960, 1}, [3]int{959, 960}))
	f.Add(seed([3]int{-960, 960}, [3]int{-960, 960}, [3]int{480000, 960}, [3]int{30000, 960, 10}, [3]int{2880, 960, 200}))
	f.Add(seed([3]int{1 << 31, 1}, [3]int{1 << 30, 5760}, [3]int{1 << 31, 5760, 255}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, conceals := range []bool{false, true} {
			line, l := NewTimeline(48000, 0, conceals), newListener()
			stamp, now := uint32(0), start
			for rest := data[:min(len(data), 8*100)]; len(rest) >= 8; rest = rest[8:] {
				stamp += binary.BigEndian.Uint32(rest)
				line.Lose(int(rest[6]))
				now = now.Add(time.Duration(rest[7]) * time.Millisecond)
				ticks := int64(binary.BigEndian.Uint16(rest[4:]))%5760 + 1
				made := int64(0)
				for _, s := range line.Push(Packet{Timestamp: stamp, Ticks: ticks, Data: []byte{1}, Arrival: now}) {
					l.hear(t, line, s)
					made += s.To - s.From
				}
				if made > 48000*15+5760 {
					t.Fatalf("a packet made %d ticks", made)
				}
			}
		}
	})
}

// However a sender counts its packets and their time, it cannot have more sound made than time passes.
func TestWhatIsFilledTakesItsTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lost  int
		early time.Duration // by which every second packet overtakes the one before
	}{"silence": {}, "loss": {lost: 1}, "reordering": {early: 80 * time.Millisecond}} {
		line, l := NewTimeline(48000, 0, true), newListener()
		var stamp uint32
		var made int64
		now := start
		for i := range 1000 {
			line.Lose(c.lost)
			arrival := now.Add(-c.early * time.Duration(i%2))
			for _, s := range line.Push(Packet{Timestamp: stamp, Ticks: 120, Data: []byte{1}, Arrival: arrival}) {
				l.hear(t, line, s)
				made += s.To - s.From
			}
			stamp += 48000*19/10 + 120
			now = now.Add(time.Millisecond)
		}
		if seconds := made / 48000; seconds < 1 || seconds > 7 {
			t.Errorf("%s: %d seconds of sound of packets that came within one and last two and a half", name, seconds)
		}
	}
	// Who sends all the time and is cut off may go on where it stopped, as often as it happens.
	line := NewTimeline(48000, 0, true)
	stamp, now, begins := uint32(0), start, 0
	for i := range 1000 {
		if i%10 == 9 {
			line.Lose(95)
			stamp += 95 * 960
			now = now.Add(95 * 20 * time.Millisecond)
		}
		for _, s := range line.Push(Packet{Timestamp: stamp, Ticks: 960, Data: []byte{1}, Arrival: now}) {
			if s.Begins {
				begins++
			}
		}
		stamp += 960
		now = now.Add(20 * time.Millisecond)
	}
	if begins != 1 {
		t.Errorf("%d segments of a sender that never lost its place", begins)
	}
}

// BenchmarkSound is the cost of a packet of 20 ms beside its decoding, of a line that loses one in 20.
func BenchmarkSound(b *testing.B) {
	line := NewTimeline(48000, 0, true)
	w := NewWindows(media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64}, 0)
	payload, samples, data := make([]byte, 2*w.Input().Samples()), make([]int16, 320), []byte{31 << 3}
	format := Format{Codec: media.Opus, Clock: 48000}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%20 == 1 {
			line.Lose(1)
			continue
		}
		ticks, _ := format.Ticks(data)
		for _, s := range line.Push(Packet{Timestamp: uint32(960 * i), Ticks: ticks, Data: data, Arrival: start.Add(time.Duration(i) * 20 * time.Millisecond)}) {
			for rest := samples[:Samples(s.To, 48000, 16000)-Samples(s.From, 48000, 16000)]; len(rest) > 0; {
				rest = rest[w.Write(rest, Part{Arrival: start}):]
				w.Take(payload)
			}
		}
	}
}
