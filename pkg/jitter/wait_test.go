package jitter

import (
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	for _, test := range []struct{ rtt, spread, want int }{
		{0, 0, 180}, {1, 0, 150}, {20, 3, 150}, {40, 10, 200}, {80, 5, 370}, {100, 0, 450}, {100, 20, 490}, {2000, 0, 500}, {0, 20, 220},
	} {
		got := Wait(time.Duration(test.rtt)*time.Millisecond, time.Duration(test.spread)*time.Millisecond)
		if got != time.Duration(test.want)*time.Millisecond {
			t.Errorf("round trip %d ms, jitter %d ms: wait %v, want %d ms", test.rtt, test.spread, got, test.want)
		}
	}
}

func TestSpread(t *testing.T) {
	tests := []struct {
		name string
		late func(picture int) time.Duration // of the picture's packets
		want time.Duration
	}{
		{"steady", func(int) time.Duration { return 0 }, 0},
		{"every second one late", func(i int) time.Duration { return time.Duration(i%2) * 10 * time.Millisecond }, 10 * time.Millisecond},
		{"one outage long ago", func(i int) time.Duration {
			if i < 100 {
				return 0
			}
			return 5 * time.Second
		}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := NewSpread(90000)
			timestamp := uint32(1<<32 - 100*3000) // wraps
			for i := range 300 {
				sent := time.Duration(i) * time.Second / 30
				for part := range 3 { // paced, which is no jitter
					s.Arrived(timestamp, start.Add(sent+test.late(i)+time.Duration(part)*5*time.Millisecond))
				}
				s.Arrived(timestamp-6000, start.Add(sent+test.late(i)+20*time.Millisecond)) // a retransmission
				timestamp += 3000
			}
			if got := s.Estimate(); (got - test.want).Abs() > time.Millisecond {
				t.Errorf("jitter is %v, want %v", got, test.want)
			}
		})
	}
}

func TestStraggle(t *testing.T) {
	t.Parallel()
	for spread, want := range map[time.Duration]time.Duration{
		0: 20 * time.Millisecond, 5 * time.Millisecond: 30 * time.Millisecond, time.Second: 100 * time.Millisecond,
	} {
		if got := Straggle(spread); got != want {
			t.Errorf("with a jitter of %v: %v, want %v", spread, got, want)
		}
	}
}
