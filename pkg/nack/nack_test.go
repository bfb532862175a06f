package nack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// script drives a tracker as its owner does. The words of a script are packets that arrive, "number" or "from-to", and times, "@ms". The
// result has "number@ms" for each packet that is asked for.
func script(t *testing.T, tracker *Tracker, words string) string {
	t.Helper()
	var out []string
	now := 0
	number := func(digits string) int {
		n, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for word := range strings.FieldsSeq(words) {
		if ms, ok := strings.CutPrefix(word, "@"); ok {
			until := number(ms)
			for next, ok := tracker.Next(); ok && !next.After(at(until)); next, ok = tracker.Next() {
				now = max(now, int(next.Sub(start).Milliseconds()))
				for _, asked := range tracker.Due(at(now), nil) {
					out = append(out, fmt.Sprintf("%d@%d", asked, now))
				}
			}
			now = until
			continue
		}
		from, to, isRange := strings.Cut(word, "-")
		if !isRange {
			to = from
		}
		for n := number(from); ; n = (n + 1) & 0xffff {
			tracker.Arrived(uint16(n), at(now))
			if n == number(to) {
				break
			}
		}
	}
	return strings.Join(out, " ")
}

func TestTracker(t *testing.T) {
	tests := []struct {
		name      string
		rtt, wait int // milliseconds
		words     string
		want      string
		stats     Stats
	}{
		{"nothing is missing", 0, 100, "1-9 @500", "", Stats{}},
		{"asked for until it is of no use", 0, 100, "1 3 @500", "2@5 2@30 2@55 2@80", Stats{Requests: 4, GivenUp: 1}},
		{"no more often than allowed", 0, 250, "1 3 @500", "2@5 2@30 2@55 2@80", Stats{Requests: 4, GivenUp: 1}},
		{"not again before an answer can be here", 96, 250, "1 3 @500", "2@5 2@113", Stats{Requests: 2, GivenUp: 1}},
		{"asked for once however long an answer takes", 400, 250, "1 3 @500", "2@5", Stats{Requests: 1, GivenUp: 1}},
		{"a recovered packet is not asked for again", 20, 100, "1 3 @25 2 @500", "2@5", Stats{Requests: 1, Recovered: 1}},
		{"a reordered packet is not asked for", 20, 100, "1 3 @4 2 @500", "", Stats{Reordered: 1}},
		{"together", 20, 100, "1 5 @6 2 4 @500", "2@5 3@5 4@5 3@30 3@55", Stats{Requests: 5, Recovered: 2, GivenUp: 1}},
		{"duplicates", 20, 100, "1 1 3 3 1 @500", "2@5 2@30 2@55", Stats{Requests: 3, GivenUp: 1}},
		{"too late", 20, 60, "1 3 @100 2 @500", "2@5 2@30", Stats{Requests: 2, GivenUp: 1}},
		{"across the wrap", 20, 60, "65534 1 @6 65535 0 @500", "65535@5 0@5", Stats{Requests: 2, Recovered: 2}},
		{"as many in a row as are worth it", 0, 20, "10 19 @500", "11@5 12@5 13@5 14@5 15@5 16@5 17@5 18@5", Stats{Requests: 8, GivenUp: 8}},
		{"more in a row", 0, 20, "10 12 22 23 25 @500", "24@5", Stats{Requests: 1, GivenUp: 1 + 9 + 1, Jumps: 1}},
		{"too many in all", 0, 20, "10 12 14 16 18 20 22 24 26 28 30 @500", "15@5 17@5 19@5 21@5 23@5 25@5 27@5 29@5", Stats{Requests: 8, GivenUp: 10}},
		{"far behind, by itself", 0, 20, "9000 100 9001 101 9002 @500", "", Stats{}},
		{"the source begins anew", 0, 20, "9000 9002 100 101 103 @500", "102@5", Stats{Requests: 1, GivenUp: 2, Restarts: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tracker := New(Config{Outstanding: 8})
			tracker.SetTiming(time.Duration(test.rtt)*time.Millisecond, time.Duration(test.wait)*time.Millisecond)
			if got := script(t, tracker, test.words); got != test.want {
				t.Errorf("asked for %q, want %q", got, test.want)
			}
			if got := tracker.Stats(); got != test.stats {
				t.Errorf("stats are %+v, want %+v", got, test.stats)
			}
			if n := tracker.Outstanding(); n != 0 {
				t.Errorf("%d packets are still missing", n)
			}
		})
	}
}

func TestTrackerAsksForManyABurstAtATime(t *testing.T) {
	tracker := New(Config{Burst: 3})
	tracker.SetTiming(200*time.Millisecond, 250*time.Millisecond)
	const want = "11@5 12@5 13@5 15@10 16@10 17@10 18@15"
	if got := script(t, tracker, "10 19 @7 14 @500"); got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// Whatever arrives: a packet that is here is not asked for, none more often than Tries, and never are more outstanding than allowed.
func TestTrackerProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const tries, most = 3, 32
		tracker := New(Config{Tries: tries, Outstanding: most, Burst: 4})
		tracker.SetTiming(time.Duration(rapid.IntRange(0, 300).Draw(t, "rtt"))*time.Millisecond, 150*time.Millisecond)
		first := rapid.IntRange(0, 65535).Draw(t, "first")
		here := map[uint16]bool{}
		asked := map[uint16]int{}
		now := 0
		newest := first
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.IntRange(0, 20).Draw(t, "pause")
			switch rapid.IntRange(0, 9).Draw(t, "fate") {
			case 0:
				newest += rapid.IntRange(1, 2*most).Draw(t, "lost")
			case 1:
				newest -= min(newest-first, rapid.IntRange(0, most).Draw(t, "back"))
			default:
				newest++
			}
			tracker.Arrived(uint16(newest), at(now))
			here[uint16(newest)] = true
			due := tracker.Due(at(now), nil)
			if !slices.IsSortedFunc(due, func(a, b uint16) int { return int(int16(a - b)) }) {
				t.Fatalf("asked for %v", due)
			}
			for _, number := range due {
				asked[number]++
				if here[number] || asked[number] > tries {
					t.Fatalf("asked for %d, here %v, %d times", number, here[number], asked[number])
				}
			}
			if tracker.Outstanding() > most {
				t.Fatalf("%d outstanding", tracker.Outstanding())
			}
			if next, ok := tracker.Next(); ok != (tracker.Outstanding() > 0) || ok && !next.After(at(now)) {
				t.Fatalf("next %v, %v at %v", next, ok, at(now))
			}
		}
		tracker.Due(at(now+1000), nil)
		if tracker.Outstanding() != 0 {
			t.Fatal("something is waited for without end")
		}
	})
}
