package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestGolden plays the scripts of testdata. Each line is a time in ms and what happens then:
//
//	model BASE EACH INSTANCES   the model, which was warmed up, and its instances; two batches may be in flight on each, of at most 4 frames
//	frame NAME LEFT [TURN]      a frame of a stream comes that has LEFT ms; line NAME LEFT LATEST is one that has others of its stream behind it
//	load RATE MS                frames came at a rate for so long, until now
//	ran I, silent I, refused I, unreachable I    how the oldest batch of instance I ended
//	down I, up I                what its readiness check says
//	decide …                    what the policy decides, as show writes it; it is done
func TestGolden(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts %v, %v", scripts, err)
	}
	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			p := player{t: t, state: State{Max: 4, Slots: 2}}
			for n, line := range strings.Split(string(text), "\n") {
				if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
					p.play(n+1, strings.Fields(line))
				}
			}
		})
	}
}

// player plays one script.
type player struct {
	t      *testing.T
	policy *Fresh
	state  State
	names  []string
	items  []Item
}

func (p *player) play(line int, words []string) {
	p.t.Helper()
	ms, args := number(p.t, words[0]), words[2:]
	p.state.Now = at(ms)
	arg := func(i int) int { return number(p.t, args[i]) }
	switch words[1] {
	case "model":
		p.policy = warmed(arg(0), arg(1))
		for range arg(2) {
			p.state.Instances = append(p.state.Instances, Instance{Ready: true})
		}
	case "frame", "line":
		item := Item{Arrived: p.state.Now, Deadline: at(ms + arg(1))}
		if words[1] == "line" {
			item.Latest = at(ms + arg(2))
		} else if len(args) > 2 {
			item.Turn = uint64(arg(2))
		}
		p.names, p.items = append(p.names, args[0]), append(p.items, item)
		p.policy.Arrived(p.state.Now, 1)
	case "load":
		for back := arg(1); back > 0; back-- {
			p.policy.Arrived(at(ms-back), arg(0)/1000)
		}
	case "ran", "silent", "refused", "unreachable":
		p.end(arg(0), map[string]End{"ran": Ran, "silent": Silent, "refused": Refused, "unreachable": Unreachable}[words[1]])
	case "down", "up":
		p.state.Instances[arg(0)].Ready = words[1] == "up"
	case "decide":
		if got, want := p.decide(), strings.Join(args, " "); got != want {
			p.t.Errorf("line %d: at %d ms the decision is\n\t%s\nwant\n\t%s", line, ms, got, want)
		}
	default:
		p.t.Fatalf("line %d: %v is nothing that happens", line, words)
	}
}

func number(t *testing.T, word string) int {
	t.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *player) end(i int, end End) {
	f := p.state.Instances[i].Flights[0]
	p.state.Instances[i].Flights = slices.Delete(p.state.Instances[i].Flights, 0, 1)
	p.policy.Observe(Completion{Instance: i, Size: f.Size, Sent: f.Sent, Done: p.state.Now, End: end})
}

// decide does what the policy decides, and shows it.
func (p *player) decide() string {
	d := p.policy.Decide(p.items, p.state)
	text := p.show(d)
	if len(d.Send) > 0 {
		to := &p.state.Instances[d.Instance]
		to.Flights = append(to.Flights, Flight{Size: len(d.Send), Sent: p.state.Now})
	}
	gone := append(slices.Clone(d.Send), d.Expire...)
	slices.Sort(gone)
	for _, i := range slices.Backward(gone) {
		p.names, p.items = slices.Delete(p.names, i, i+1), slices.Delete(p.items, i, i+1)
	}
	return text
}

// show writes a decision: "a b to 0; expire c; give up 1.0; wake 35ms", or "nothing".
func (p *player) show(d Decision) string {
	var parts []string
	name := func(indices []int) string {
		var names []string
		for _, i := range indices {
			names = append(names, p.names[i])
		}
		return strings.Join(names, " ")
	}
	if len(d.Send) > 0 {
		parts = append(parts, fmt.Sprintf("%s to %d", name(d.Send), d.Instance))
	}
	if len(d.Expire) > 0 {
		parts = append(parts, "expire "+name(d.Expire))
	}
	for _, o := range d.GiveUp {
		parts = append(parts, fmt.Sprintf("give up %d.%d", o.Instance, o.Flight))
	}
	if !d.Wake.IsZero() {
		parts = append(parts, "wake "+d.Wake.Sub(start).Round(time.Millisecond).String())
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}
