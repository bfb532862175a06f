package uplink

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// at is a moment of a test that needs no clock.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func frame(stream string, input, sequence uint32, due ...media.Due) media.Frame {
	return media.Frame{Stream: stream, InputID: input, Sequence: sequence, Due: due, Payload: media.Payload{{1}}, Release: func() {}}
}

func due(model string, ms int) media.Due { return media.Due{Model: model, Deadline: at(ms)} }

// said writes drops down: what, for whom, why, and whether the payload came along.
func said(drops []drop) (lines []string) {
	for _, d := range drops {
		line := fmt.Sprintf("%s/%d:%d", d.frame.Stream, d.frame.InputID, d.frame.Sequence)
		for _, due := range d.frame.Due {
			line += " " + due.Model
		}
		line += " " + d.reason.String()
		if d.frame.Release != nil {
			line += " +payload"
		}
		lines = append(lines, line)
	}
	return lines
}

func always(slot) bool { return true }

func TestSlots(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(*slots) []drop
		want []string
		left []uint32 // sequences in the order they would be taken
	}{
		{"one a stream and input", func(s *slots) []drop {
			return append(append(s.put(frame("a", 1, 1, due("m", 9)), newestWins, at(0)), s.put(frame("a", 2, 2, due("n", 9)), newestWins, at(0))...),
				s.put(frame("b", 1, 3, due("m", 9)), newestWins, at(0))...)
		}, nil, []uint32{1, 2, 3}},
		{"newest wins and keeps its turn", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 9)), newestWins, at(0))
			s.put(frame("b", 1, 2, due("m", 9)), newestWins, at(0))
			return s.put(frame("a", 1, 3, due("m", 9)), newestWins, at(0))
		}, []string{"a/1:1 m SUPERSEDED +payload"}, []uint32{3, 2}},
		{"an older one does not come back", func(s *slots) []drop {
			s.put(frame("a", 1, 5, due("m", 9)), newestWins, at(0))
			s.take(always)
			return s.put(frame("a", 1, 5, due("m", 9)), newestWins, at(0))
		}, []string{"a/1:5 m SUPERSEDED +payload"}, nil},
		{"late on arrival takes no place", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 9)), newestWins, at(0))
			return s.put(frame("a", 1, 2, due("m", 5)), newestWins, at(5))
		}, []string{"a/1:2 m EXPIRED +payload"}, []uint32{1}},
		{"late for one model only", func(s *slots) []drop {
			return s.put(frame("a", 1, 2, due("m", 5), due("n", 6)), newestWins, at(5))
		}, []string{"a/1:2 m EXPIRED"}, []uint32{2}},
		{"expire", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 5), due("n", 7)), newestWins, at(0))
			s.put(frame("b", 1, 2, due("m", 5)), newestWins, at(0))
			return append(append(s.expire(at(4)), s.expire(at(5))...), s.expire(at(7))...)
		}, []string{"a/1:1 m EXPIRED", "b/1:2 m EXPIRED +payload", "a/1:1 n EXPIRED +payload"}, nil},
		{"forget", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 5)), newestWins, at(0))
			s.put(frame("b", 1, 2, due("m", 5)), newestWins, at(0))
			return s.forget("a", media.Draining)
		}, []string{"a/1:1 m DRAINING +payload"}, []uint32{2}},
		{"clear", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 5)), newestWins, at(0))
			s.put(frame("b", 1, 2, due("m", 5)), newestWins, at(0))
			return s.clear(media.NoRouter)
		}, []string{"a/1:1 m NO_ROUTER +payload", "b/1:2 m NO_ROUTER +payload"}, nil},
		{"refit", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 5), due("n", 5)), newestWins, at(0))
			s.put(frame("a", 2, 2, due("o", 5)), newestWins, at(0))
			return s.refit(&needs{takes: map[string]uint32{"m": 1, "n": 3}, wire: map[uint32]uint32{1: 1, 3: 3}})
		}, []string{"a/1:1 n EXPIRED", "a/2:2 o EXPIRED +payload"}, []uint32{1}},
		{"a line keeps its order and goes by turns", func(s *slots) []drop {
			return append(append(s.put(frame("a", 1, 1, due("m", 9)), 3, at(0)), s.put(frame("a", 1, 2, due("m", 9)), 3, at(0))...),
				s.put(frame("b", 1, 1, due("m", 9)), newestWins, at(0))...)
		}, nil, []uint32{1, 1, 2}},
		{"a full line loses its oldest", func(s *slots) []drop {
			for sequence := range uint32(3) {
				s.put(frame("a", 1, sequence+1, due("m", 9)), 3, at(0))
			}
			return s.put(frame("a", 1, 4, due("m", 9)), 3, at(0))
		}, []string{"a/1:1 m EXPIRED +payload"}, []uint32{2, 3, 4}},
		{"a line that became shorter", func(s *slots) []drop {
			for sequence := range uint32(3) {
				s.put(frame("a", 1, sequence+1, due("m", 9)), 3, at(0))
			}
			return s.put(frame("a", 1, 4, due("m", 9)), 2, at(0))
		}, []string{"a/1:1 m EXPIRED +payload", "a/1:2 m EXPIRED +payload"}, []uint32{3, 4}},
		{"a line is never put in order", func(s *slots) []drop {
			s.put(frame("a", 1, 2, due("m", 9)), 3, at(0))
			return s.put(frame("a", 1, 1, due("m", 9)), 3, at(0))
		}, []string{"a/1:1 m EXPIRED +payload"}, []uint32{2}},
		{"of a line what is late goes", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 5), due("n", 7)), 3, at(0))
			s.put(frame("a", 1, 2, due("m", 6), due("n", 8)), 3, at(0))
			s.put(frame("a", 1, 3, due("m", 7), due("n", 9)), 3, at(0))
			return s.expire(at(7))
		}, []string{"a/1:1 m n EXPIRED +payload", "a/1:2 m EXPIRED", "a/1:3 m EXPIRED"}, []uint32{2, 3}},
		{"a line is cleared whole", func(s *slots) []drop {
			s.put(frame("a", 1, 1, due("m", 5)), 3, at(0))
			s.put(frame("a", 1, 2, due("m", 6)), 3, at(0))
			return s.clear(media.NoRouter)
		}, []string{"a/1:1 m NO_ROUTER +payload", "a/1:2 m NO_ROUTER +payload"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSlots()
			if got := said(c.do(&s)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("drops %q, want %q", got, c.want)
			}
			var left []uint32
			for f, ok := s.take(always); ok; f, ok = s.take(always) {
				left = append(left, f.Sequence)
			}
			if fmt.Sprint(left) != fmt.Sprint(c.left) {
				t.Errorf("left %v, want %v", left, c.left)
			}
		})
	}
}

func TestSlotsTakeOnlyWhatMay(t *testing.T) {
	t.Parallel()
	s := newSlots()
	s.put(frame("a", 1, 1, due("m", 9)), newestWins, at(0))
	s.put(frame("b", 1, 2, due("m", 5)), newestWins, at(0))
	if got := s.next(); got != at(5) {
		t.Errorf("next is %v, want the earliest deadline %v", got, at(5))
	}
	if f, ok := s.take(func(at slot) bool { return at.stream == "b" }); !ok || f.Sequence != 2 {
		t.Errorf("took %v, want the one of b", f)
	}
	if _, ok := s.take(func(slot) bool { return false }); ok {
		t.Error("took one that may not go")
	}
}

// Whatever is done, in any order, each (frame, model) leaves exactly once and each payload exactly once.
func TestSlotsLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, now := newSlots(), 0
		taken := make(map[slot]uint32)
		in, out, payloads := 0, make(map[string]int), make(map[string]int)
		leave := func(f media.Frame) {
			for _, d := range f.Due {
				out[fmt.Sprintf("%s %d %d %s", f.Stream, f.InputID, f.Sequence, d.Model)]++
			}
			if f.Release != nil {
				payloads[fmt.Sprintf("%s %d %d", f.Stream, f.InputID, f.Sequence)]++
			}
		}
		all := func(drops []drop) {
			for _, d := range drops {
				leave(d.frame)
			}
		}
		pairs := 0
		for sequence := range uint32(rapid.IntRange(1, 60).Draw(t, "frames")) {
			f := frame(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "stream"), rapid.Uint32Range(1, 2).Draw(t, "input"), sequence+1)
			for _, m := range []string{"m", "n", "o"}[:rapid.IntRange(1, 3).Draw(t, "models")] {
				f.Due = append(f.Due, due(m, now+rapid.IntRange(-5, 40).Draw(t, "deadline")))
			}
			in, pairs = in+1, pairs+len(f.Due)
			length := newestWins
			if f.InputID == 2 {
				length = 3
			}
			all(s.put(f, length, at(now)))
			now += rapid.IntRange(0, 10).Draw(t, "pause")
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				if f, ok := s.take(always); ok {
					if from := (slot{f.Stream, f.InputID}); f.Sequence <= taken[from] {
						t.Fatalf("took %d after %d", f.Sequence, taken[from])
					} else {
						taken[from] = f.Sequence
					}
					leave(f)
				}
			case 1:
				all(s.expire(at(now)))
				if next := s.next(); !next.IsZero() && !next.After(at(now)) {
					t.Fatalf("still something to expire at %v", next)
				}
			case 2:
				all(s.forget("a", media.Draining))
			case 3:
				all(s.refit(&needs{takes: map[string]uint32{"m": 1, "n": 2}, wire: map[uint32]uint32{1: 1, 2: 2}}))
			}
			if len(s.turn) != len(s.waiting) || len(s.turn) > 4 {
				t.Fatalf("%d turns for %d slots", len(s.turn), len(s.waiting))
			}
			for from, line := range s.waiting {
				if len(line) < 1 || len(line) > 1+2*int(from.input-1) {
					t.Fatalf("%d frames wait in %v", len(line), from)
				}
			}
		}
		all(s.clear(media.Draining))
		for what, n := range out {
			if n != 1 {
				t.Fatalf("%s left %d times", what, n)
			}
		}
		for what, n := range payloads {
			if n != 1 {
				t.Fatalf("the payload of %s left %d times", what, n)
			}
		}
		if len(out) != pairs || len(payloads) != in {
			t.Fatalf("%d of %d (frame, model), %d of %d payloads left", len(out), pairs, len(payloads), in)
		}
	})
}

func opened(window uint32, models []media.Model, inputs ...media.Input) *sluicev1.Opened {
	m := &sluicev1.Opened{Window: new(window)}
	for _, d := range models {
		m.Models = append(m.Models, wire.ModelToProto(d))
	}
	for _, in := range inputs {
		m.Inputs = append(m.Inputs, wire.InputToProto(in))
	}
	return m
}

func model(name string, input uint32) media.Model {
	return media.Model{Name: name, InputID: input, Deadline: time.Second}
}

func TestFormsKeepTheirIDs(t *testing.T) {
	t.Parallel()
	var f forms
	read := func(m *sluicev1.Opened) *needs {
		t.Helper()
		n, left, err := f.read(m)
		if err != nil || len(left) > 0 {
			t.Fatalf("read: %v, left out: %v", err, left)
		}
		return n
	}
	first := read(opened(1, []media.Model{model("m", 10), model("n", 20)}, media.Input{ID: 10, Form: media.PictureForm(small)}, media.Input{ID: 20, Form: media.PictureForm(large)}))
	// Another router numbers the same forms the other way around.
	second := read(opened(1, []media.Model{model("m", 20), model("n", 10)}, media.Input{ID: 10, Form: media.PictureForm(large)}, media.Input{ID: 20, Form: media.PictureForm(small)}))
	if first.takes["m"] != second.takes["m"] || first.takes["n"] != second.takes["n"] || first.takes["m"] == first.takes["n"] {
		t.Errorf("ids changed from %v to %v", first.takes, second.takes)
	}
	if second.wire[second.takes["m"]] != 20 || second.models[0].InputID != second.takes["m"] {
		t.Errorf("m takes %d, which is %d on the call; want 20", second.models[0].InputID, second.wire[second.takes["m"]])
	}
	gone := read(opened(1, []media.Model{model("n", 1)}, media.Input{ID: 1, Form: media.PictureForm(large)}))
	again := read(opened(1, []media.Model{model("m", 1)}, media.Input{ID: 1, Form: media.PictureForm(small)}))
	if gone.takes["n"] != first.takes["n"] || again.takes["m"] == first.takes["m"] || again.takes["m"] == first.takes["n"] {
		t.Errorf("a form that was gone got the id %d again, out of %v", again.takes["m"], first.takes)
	}
	if wants := first.wants(first.takes["m"]); !wants(due("m", 0)) || wants(due("n", 0)) || wants(due("unknown", 0)) {
		t.Error("wants mixes models up")
	}
}

func TestFormsRefuse(t *testing.T) {
	t.Parallel()
	in := media.Input{ID: 1, Form: media.PictureForm(small)}
	for name, m := range map[string]*sluicev1.Opened{
		"no window":           opened(0, nil, in),
		"an id twice":         opened(1, nil, in, media.Input{ID: 1, Form: media.PictureForm(large)}),
		"a form twice":        opened(1, nil, in, media.Input{ID: 2, Form: media.PictureForm(small)}),
		"a model twice":       opened(1, []media.Model{model("m", 1), model("m", 1)}, in),
		"a nameless model":    opened(1, []media.Model{model("", 1)}, in),
		"a model out of time": opened(1, []media.Model{{Name: "m", InputID: 1}}, in),
	} {
		var f forms
		if _, _, err := f.read(m); !errors.Is(err, errProtocol) {
			t.Errorf("%s: %v, want errProtocol", name, err)
		}
		if f.last != 0 || f.ids != nil {
			t.Errorf("%s: left traces %+v", name, f)
		}
	}
}

// A newer router serves kinds that are not known here; the models that are known work on.
func TestFormsLeaveOutWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	m := opened(1, []media.Model{model("m", 1), model("speech", 2)}, media.Input{ID: 1, Form: media.PictureForm(small)})
	m.Inputs = append(m.Inputs, &sluicev1.Input{Id: new(uint32(2))})
	var f forms
	n, left, err := f.read(m)
	if err != nil || len(n.models) != 1 || n.models[0].Name != "m" || len(left) != 2 {
		t.Errorf("needs %+v, left out %v, error %v", n, left, err)
	}
}

func TestOwed(t *testing.T) {
	t.Parallel()
	answer := func(sequence uint32) media.Outcome { return media.Outcome{Stream: "a", Sequence: sequence, Model: "m"} }
	limit := 100 + int(patience/time.Millisecond)
	for _, c := range []struct {
		name   string
		do     func(*owed)
		at     int
		silent bool
		look   time.Time
	}{
		{"nothing sent", func(*owed) {}, 9999, false, time.Time{}},
		{"within patience", func(o *owed) { o.sent(frame("a", 1, 1, due("m", 100))) }, limit - 1, false, at(limit)},
		{"beyond it", func(o *owed) { o.sent(frame("a", 1, 1, due("m", 100))) }, limit, true, time.Time{}},
		{"answered", func(o *owed) { o.sent(frame("a", 1, 1, due("m", 100))); o.answered(answer(1)) }, limit, false, time.Time{}},
		{"one of two answered", func(o *owed) {
			o.sent(frame("a", 1, 1, due("m", 100), due("n", 100)))
			o.answered(answer(1))
		}, limit, true, time.Time{}},
		{"heard before the deadline", func(o *owed) { o.sent(frame("a", 1, 1, due("m", 100))); o.heard = at(99) }, limit, true, time.Time{}},
		{"heard after it", func(o *owed) { o.sent(frame("a", 1, 1, due("m", 100))); o.heard = at(100) }, limit, false, time.Time{}},
		{"a later one is still owed", func(o *owed) {
			o.sent(frame("a", 1, 1, due("m", 100)))
			o.sent(frame("a", 1, 2, due("m", 300)))
			o.heard = at(150)
		}, limit, false, at(limit + 200)},
		{"its stream is forgotten", func(o *owed) { o.sent(frame("a", 1, 1, due("m", 100))); o.forget("a") }, limit, true, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOwed()
			o.heard = at(0)
			c.do(&o)
			if got := o.silent(at(c.at)); got != c.silent {
				t.Errorf("silent = %v, want %v", got, c.silent)
			}
			if !c.silent && !o.look.Equal(c.look) {
				t.Errorf("looks again at %v, want %v", o.look, c.look)
			}
		})
	}
	o := newOwed()
	o.sent(frame("a", 1, 5, due("m", 100)))
	for sequence, want := range map[uint32]bool{4: true, 5: true, 6: false} {
		if got := o.answered(answer(sequence)); got != want {
			t.Errorf("an answer to %d after 5 was sent: %v, want %v", sequence, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var b backoff
	if first := b.next(); first != 0 {
		t.Errorf("the first pause is %s, want none", first)
	}
	before := time.Duration(0)
	for i := range 30 {
		pause := b.next()
		if pause < firstPause*8/10 || pause > longestPause*12/10 || (i < 5 && pause <= before) {
			t.Errorf("pause %d is %s after %s", i, pause, before)
		}
		before = pause
	}
	b.reset()
	if first := b.next(); first != 0 {
		t.Errorf("after reset the pause is %s, want none", first)
	}
}
