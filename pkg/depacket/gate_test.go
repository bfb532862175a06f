package depacket

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// gateScript drives a gate. Words: K key frame, P picture, B disposable picture, b one that is shown before the one before it; a "~" before one means that units are missing before it,
// an "x" after it that it is lost; Rn a recovery point n frames before the pictures are right; ! the decoder breaks; @ms a time. The result
// repeats the units with the verdict, "+" decode, "p" prime, "-" refuse, and has "PLI" wherever a key frame is asked for, "@ms" with it.
func gateScript(t *testing.T, g *Gate, words string) string {
	t.Helper()
	var out []string
	now := 0
	ask := func(ms int) {
		if g.Ask(at(ms)) {
			out = append(out, fmt.Sprintf("PLI@%d", ms))
		}
	}
	for word := range strings.FieldsSeq(words) {
		if word == "!" {
			g.Break()
			ask(now)
			continue
		}
		if ms, ok := strings.CutPrefix(word, "@"); ok {
			var until int
			if _, err := fmt.Sscan(ms, &until); err != nil {
				t.Fatal(err)
			}
			for next, ok := g.Next(); ok && !next.After(at(until)); next, ok = g.Next() {
				ask(int(next.Sub(start).Milliseconds()))
			}
			now = until
			continue
		}
		u := unitOf(t, word)
		verdict := map[Verdict]string{Decode: "+", Prime: "p", Refuse: "-"}[g.Step(&u)]
		out = append(out, strings.Trim(word, "~x0123456789")+verdict)
		ask(now)
	}
	return strings.Join(out, " ")
}

// TestGateLetsLayersBeginAfresh loses a picture of the lowest but one of four temporal layers: each layer goes on where it is told to.
func TestGateLetsLayersBeginAfresh(t *testing.T) {
	t.Parallel()
	g := new(Gate)
	g.Step(&Unit{AccessUnit: media.AccessUnit{Key: true}})
	g.Step(&Unit{Drop: media.Damaged, Layer: 1})
	for i, c := range []struct {
		unit Unit
		want Verdict
	}{
		{Unit{Layer: 1}, Refuse},
		{Unit{Layer: 2, Fresh: true}, Refuse}, // it depends on the layer below
		{Unit{}, Decode},
		{Unit{Layer: 1, Fresh: true}, Decode},
		{Unit{Layer: 1}, Decode},
		{Unit{Layer: 2}, Refuse},
		{Unit{Layer: 3, Fresh: true, Switch: true}, Refuse},
		{Unit{Layer: 2, Fresh: true, Switch: true}, Decode},
		{Unit{Layer: 3}, Decode},
	} {
		if got := g.Step(&c.unit); got != c.want || g.Waiting() {
			t.Errorf("unit %d, of layer %d: %v, want %v", i, c.unit.Layer, got, c.want)
		}
	}
	if _, asks := g.Next(); asks {
		t.Error("a key frame is wanted")
	}
}

// TestGateGoesWithoutLayers leaves out the higher of three temporal layers and takes them in again.
func TestGateGoesWithoutLayers(t *testing.T) {
	t.Parallel()
	key := Unit{AccessUnit: media.AccessUnit{Key: true}}
	for _, c := range []struct {
		name  string
		steps func(g *Gate)
		next  Unit
		want  string // thinned, or a verdict
	}{
		{"nothing left out", func(*Gate) {}, Unit{Layer: 2}, "decode"},
		{"one of the same layer", func(g *Gate) { g.Skip(&Unit{Layer: 1}, false) }, Unit{Layer: 1}, "thinned"},
		{"one of a lower layer", func(g *Gate) { g.Skip(&Unit{Layer: 1}, false) }, Unit{Layer: 2}, "thinned"},
		{"one of a higher layer", func(g *Gate) { g.Skip(&Unit{Layer: 2}, false) }, Unit{Layer: 1}, "decode"},
		{"one that nothing depends on", func(g *Gate) { g.Skip(&Unit{Layer: 2, Disposable: true}, false) }, Unit{Layer: 2}, "decode"},
		{"the layer starts afresh", func(g *Gate) { g.Skip(&Unit{Layer: 1}, false) }, Unit{Layer: 1, Fresh: true}, "decode"},
		{"a higher layer starts afresh", func(g *Gate) { g.Skip(&Unit{Layer: 1}, false) }, Unit{Layer: 2, Fresh: true}, "thinned"},
		{"all start afresh", func(g *Gate) { g.Skip(&Unit{Layer: 1}, false); g.Step(&Unit{Switch: true}) }, Unit{Layer: 2}, "decode"},
		{"a key frame", func(g *Gate) { g.Skip(&Unit{Layer: 1}, false); g.Step(&key) }, Unit{Layer: 2}, "decode"},
		{"a loss as well", func(g *Gate) { g.Skip(&Unit{Layer: 2}, false); g.Step(&Unit{Layer: 1, Drop: media.Damaged}) }, Unit{Layer: 1}, "refuse"},
		{"a loss before one that was left out", func(g *Gate) { g.Skip(&Unit{Layer: 1, Missing: true}, false) }, Unit{}, "refuse"},
		{"a loss of the layers left out", func(g *Gate) { g.Skip(&Unit{Layer: 1, Missing: true, MissingLayer: 1}, false) }, Unit{}, "decode"},
		{"before any key frame", func(g *Gate) { *g = Gate{}; g.Skip(&Unit{Layer: 1}, false) }, Unit{Layer: 1}, "refuse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := new(Gate)
			g.Step(&key)
			c.steps(g)
			got := "thinned"
			if !g.Thinned(&c.next) {
				got = g.Step(&c.next).String()
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	g := new(Gate)
	g.Step(&key)
	g.Skip(&Unit{Layer: 1}, false)
	for i := range patience {
		if _, asks := g.Next(); asks {
			t.Fatalf("a key frame is asked for after %d units", i)
		}
		g.Skip(&Unit{Layer: 1}, true)
	}
	if _, asks := g.Next(); !asks {
		t.Error("no key frame is asked for although the layer never starts afresh")
	}
}

// TestGateAsksForOtherReasons drives the requests that no loss makes.
func TestGateAsksForOtherReasons(t *testing.T) {
	t.Parallel()
	g := new(Gate)
	key := Unit{AccessUnit: media.AccessUnit{Key: true}}
	expect := func(what string, ms int, want bool) {
		t.Helper()
		next, _ := g.Next()
		if got := g.Ask(at(ms)); got != want {
			t.Errorf("%s at %d ms: %v, want %v; next at %v", what, ms, got, want, next.Sub(start))
		}
	}
	g.Call()
	expect("the first", 0, true)
	expect("again", 999, false)
	expect("again", 1000, true)
	g.Step(&key)
	expect("answered", 1900, false)
	g.Call()
	expect("another within a second", 1999, false)
	expect("another", 2000, true)
	g.Step(&key)
	g.Call()
	g.Break()
	expect("something is lost as well", 2500, true)
	g.Step(&key)
	g.Rest()
	expect("at rest", 9000, false)
	if got := g.Step(&Unit{}); got != Refuse {
		t.Errorf("at rest: %v", got)
	}
	g.Step(&key)
	g.BreakUntil(at(20_000))
	g.Break()
	expect("held", 19_999, false)
	expect("held no longer", 20_000, true)
	g.Step(&key)
	g.Break()
	expect("a new one", 20_500, true)
	g.Call()
	g.Step(&Unit{Recovers: true})
	expect("a recovery point is no key frame", 21_500, true)
}

// TestGateIsPatientWithHigherLayers loses a picture of a layer that never starts afresh: a key frame is asked for in the end, and helps.
func TestGateIsPatientWithHigherLayers(t *testing.T) {
	t.Parallel()
	g := new(Gate)
	g.Step(&Unit{AccessUnit: media.AccessUnit{Key: true}})
	g.Step(&Unit{Drop: media.Damaged, Layer: 1})
	for i := range 2 * patience {
		layer := uint8(i % 2)
		want := Decode
		if layer == 1 {
			want = Refuse
		}
		if got := g.Step(&Unit{Layer: layer}); got != want || g.Waiting() {
			t.Fatalf("unit %d of layer %d: %v, want %v", i, layer, got, want)
		}
		if asks, want := g.Ask(at(33*i)), i == 2*patience-1; asks != want {
			t.Errorf("unit %d: asks for a key frame: %v", i, asks)
		}
	}
	g.Step(&Unit{AccessUnit: media.AccessUnit{Key: true}})
	if got := g.Step(&Unit{Layer: 1}); got != Decode {
		t.Errorf("after the key frame: %v", got)
	}
	// What may be missing in any layer still stops all of them.
	if got := g.Step(&Unit{Layer: 1, Missing: true}); got != Refuse || !g.Waiting() {
		t.Errorf("after a gap: %v", got)
	}
}

func unitOf(t *testing.T, word string) Unit {
	t.Helper()
	var u Unit
	word, u.Missing = strings.CutPrefix(word, "~")
	word, lost := strings.CutSuffix(word, "x")
	if lost {
		u.Drop = media.Damaged
	}
	switch {
	case word == "K":
		u.Key = !lost
	case word == "B":
		u.Disposable = true
	case word == "b":
		u.Disposable, u.Backward = true, true
	case strings.HasPrefix(word, "R"):
		u.Recovers = true
		if _, err := fmt.Sscan(word[1:], &u.Recovery); err != nil {
			t.Fatal(err)
		}
	case word != "P":
		t.Fatalf("what is %q?", word)
	}
	return u
}

func TestGate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"begins with a key frame", "~K P B @9000", "K+ P+ B+"},
		{"begins without", "~P @33 P @66 K P", "P- PLI@0 P- K+ P+"},
		{"begins damaged", "~Px @33 P @66 K", "P- PLI@0 P- K+"},
		{"a lost picture", "K P @33 Px @66 P @99 K P", "K+ P+ P- PLI@33 P- K+ P+"},
		{"missing pictures", "K P @33 ~P @66 P @99 K", "K+ P+ P- PLI@33 P- K+"},
		{"missing pictures before a key frame", "K P ~K P", "K+ P+ K+ P+"},
		{"a disposable picture is lost", "K P Bx P", "K+ P+ B- P+"},
		{"a disposable picture and more", "K P ~Bx P", "K+ P+ B- PLI@0 P-"},
		{"a lost key frame", "K P @33 Kx @66 P", "K+ P+ K- PLI@33 P-"},
		{"the decoder breaks", "K P @33 ! P K", "K+ P+ PLI@33 P- K+"},

		{"requests back off", "@100 P @20000", "P- PLI@100 PLI@1100 PLI@3100 PLI@7100 PLI@12100 PLI@17100"},
		{"requests are 500 ms apart", "P @10 K @20 Px @30 K @40 Px @600 K @700 Px @1100", "P- PLI@0 K+ P- K+ P- PLI@500 K+ P- PLI@1000"},
		{"an answer ends them", "P @100 K @9000", "P- PLI@0 K+"},
		{"the key frame asked for is lost", "P @1000 @3000 @3500 Kx @20000", "P- PLI@0 PLI@1000 PLI@3000 K- PLI@4000 PLI@6000 PLI@10000 PLI@15000 PLI@20000"},
		{"constant loss asks once a second", "P @500 Px @1500 Px @2500 Px @3500", "P- PLI@0 P- PLI@1000 P- PLI@2000 P- PLI@3000"},

		{"a recovery point at once", "P R0 P", "P- PLI@0 R+ P+"},
		{"a recovery point in three", "P R3 P B P @9 P @9000", "P- PLI@0 Rp Pp Bp Pp P+"},
		{"pictures shown before a recovery point", "P R0 b P b P", "P- PLI@0 R+ b- P+ b+ P+"},
		{"and before the one that is right", "P R2 b P b P b P b", "P- PLI@0 Rp b- Pp bp P+ bp P+ b+"},
		{"one of them is lost", "P R0 bx P", "P- PLI@0 R+ b- P+"},
		{"another one on the way", "P R2 P R2 P", "P- PLI@0 Rp Pp R+ P+"},
		{"a loss on the way", "P R2 P ~P @600 P", "P- PLI@0 Rp Pp P- PLI@500 P-"},
		{"a key frame on the way", "P R9 P K P", "P- PLI@0 Rp Pp K+ P+"},
		{"a recovery point while all is well", "K P R5 P", "K+ P+ R+ P+"},
		{"a recovery point after missing units", "K ~R0 P", "K+ R+ P+"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := gateScript(t, new(Gate), c.in); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
			}
		})
	}
}

func TestGateCountsRequests(t *testing.T) {
	t.Parallel()
	g := new(Gate)
	if !g.Waiting() {
		t.Error("a new gate does not wait for a key frame")
	}
	gateScript(t, g, "P @1000 @3000")
	if total, unanswered := g.Requests(); total != 3 || unanswered != 3 {
		t.Errorf("%d requests, %d unanswered, want 3 and 3", total, unanswered)
	}
	gateScript(t, g, "K")
	if total, unanswered := g.Requests(); total != 3 || unanswered != 0 || g.Waiting() {
		t.Errorf("after the answer: %d requests, %d unanswered, waiting %v", total, unanswered, g.Waiting())
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	t.Parallel()
	for v, want := range map[Verdict]string{Refuse: "refuse", Prime: "prime", Decode: "decode"} {
		if v.String() != want {
			t.Errorf("%d is called %q, want %q", v, v, want)
		}
	}
}

func TestGateNeverAsksTwiceInHalfASecond(t *testing.T) {
	t.Parallel()
	g := new(Gate)
	last := start.Add(-time.Hour)
	for ms := range 60_000 {
		u := Unit{Missing: ms%7 == 0}
		u.Key = ms%11 == 0
		g.Step(&u)
		if !g.Ask(at(ms)) {
			continue
		}
		if since := at(ms).Sub(last); since < 500*time.Millisecond {
			t.Fatalf("asked %v after the last time", since)
		}
		last = at(ms)
	}
	if total, _ := g.Requests(); total < 100 {
		t.Errorf("%d requests in a minute of loss", total)
	}
}
