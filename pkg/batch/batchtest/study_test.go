package batchtest

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"time"
)

// expected is a row of the study's table.
type expected struct {
	scenario scenario
	seeds    int
	streams  int
	goodput  float64       // answers in time a second
	age      time.Duration // of information, mean
}

func readStudy(t *testing.T) []expected {
	t.Helper()
	file, err := os.Open("testdata/study.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var table []expected
	for _, row := range rows[1:] {
		n := make([]float64, len(row))
		for i, field := range row[1:] {
			if n[i+1], err = strconv.ParseFloat(field, 64); err != nil {
				t.Fatalf("row %v: %v", row, err)
			}
		}
		table = append(table, expected{
			scenario: scenario{shape: Shape(row[0]), base: times(time.Millisecond, n[1]), each: times(time.Millisecond, n[2]), instances: int(n[3]), load: n[4], length: 10 * time.Second},
			seeds:    int(n[5]), streams: int(n[6]), goodput: n[7], age: times(time.Millisecond, n[8]),
		})
	}
	return table
}

// TestStudy has the policy and the queue, in virtual time, agree with the study that the policy comes from: goodput within 5 %, age of information within 10 %.
// Means over seeds are compared, of several where few frames come. Most are needed for a model whose best batches differ little in throughput and much in size: the
// profile that is learnt decides which of them it gets.
func TestStudy(t *testing.T) {
	t.Parallel()
	const goodputWithin, ageWithin = 0.05, 0.10
	table := readStudy(t)
	if len(table) != 96 {
		t.Fatalf("%d rows, want three profiles, one and four instances, four loads and four kinds of arrivals", len(table))
	}
	for i, want := range table {
		if raced && i%8 != 0 {
			continue // There is nothing for the race detector to find in a single-threaded value; the whole table is for a run without it.
		}
		c := want.scenario
		t.Run(fmt.Sprintf("%s, %v+%v·n, %d instances, %gx", c.shape, c.base, c.each, c.instances, c.load), func(t *testing.T) {
			t.Parallel()
			var goodput, age float64
			for seed := range want.seeds {
				c.seed = uint64(seed + 1)
				s := newSimulation(c)
				r := s.run()
				goodput, age = goodput+r.Goodput/float64(want.seeds), age+r.Age.Seconds()/float64(want.seeds)
				if len(s.periods) != want.streams {
					t.Fatalf("%d streams, the study had %d", len(s.periods), want.streams)
				}
			}
			gap, older := goodput/want.goodput-1, age/want.age.Seconds()-1
			if t.Logf("goodput %.0f, %+.1f %%; age %.1f ms, %+.1f %%", goodput, 100*gap, 1000*age, 100*older); math.Abs(gap) > goodputWithin || math.Abs(older) > ageWithin {
				t.Errorf("goodput %.1f, want %.1f; age %.1f ms, want %v", goodput, want.goodput, 1000*age, want.age)
			}
		})
	}
}
