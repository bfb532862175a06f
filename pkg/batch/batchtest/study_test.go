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
			scenario: scenario{shape: Shape(row[0]), base: times(time.Millisecond, n[1]), each: times(time.Millisecond, n[2]), instances: int(n[3]), load: n[4]},
			streams:  int(n[5]), goodput: n[6], age: times(time.Millisecond, n[7]),
		})
	}
	return table
}

// TestStudy has the policy and the queue, in virtual time, agree with the study that the policy comes from: goodput within 5 %, age of information within 10 %.
// A mean of two seeds is compared with the study's of five.
func TestStudy(t *testing.T) {
	t.Parallel()
	const seeds, goodputWithin, ageWithin = 2, 0.05, 0.10
	table := readStudy(t)
	if len(table) != 96 {
		t.Fatalf("%d rows, want three profiles, one and four instances, four loads and four kinds of arrivals", len(table))
	}
	for _, want := range table {
		c := want.scenario
		t.Run(fmt.Sprintf("%s, %v+%v·n, %d instances, %gx", c.shape, c.base, c.each, c.instances, c.load), func(t *testing.T) {
			t.Parallel()
			var goodput, age float64
			for seed := range uint64(seeds) {
				c.seed, c.length = seed+1, 10*time.Second
				s := newSimulation(c)
				r := s.run()
				goodput, age = goodput+r.Goodput/seeds, age+r.Age.Seconds()/seeds
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
