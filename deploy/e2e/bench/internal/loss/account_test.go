package loss

import (
	"reflect"
	"testing"
	"time"
)

func TestReckon(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	// Six frames, a tenth of a second apart, of which five count.
	var shots []shot
	var truth []picture
	for i := range 6 {
		shots = append(shots, shot{timestamp: uint32(i), at: at(100 * i)})
		truth = append(truth, picture{width: 4, height: 2, sum: [32]byte{byte(i)}})
	}
	end := at(3000)
	good := func(i, ms int) delivery { return delivery{uint32(i), at(ms), truth[i]} }
	tests := map[string]struct {
		deliveries []delivery
		verdicts   map[uint32]verdict
		want       account
	}{
		"all in time": {
			deliveries: []delivery{good(0, 50), good(1, 150), good(2, 250), good(3, 350), good(4, 450), good(5, 550)},
			want:       account{InTime: 5},
		},
		"two lost, then a good one": {
			deliveries: []delivery{good(0, 50), good(3, 390), good(4, 450)},
			verdicts:   map[uint32]verdict{1: {at(300), "DAMAGED"}},
			want: account{
				InTime: 3, Reasons: map[string]int{"DAMAGED": 1, "unseen": 1}, Recoveries: []time.Duration{290 * time.Millisecond},
			},
		},
		"another picture, an unknown one and one that comes twice": {
			deliveries: []delivery{
				good(0, 50), good(0, 60), {1, at(150), truth[2]}, {9, at(150), truth[1]}, {2, at(250), picture{width: 2, height: 4, sum: truth[2].sum}}, good(3, 350), good(4, 450),
			},
			want: account{
				InTime: 3, Damaged: 4, Reasons: map[string]int{"unseen": 2}, Recoveries: []time.Duration{250 * time.Millisecond},
			},
		},
		"late is as good as lost": {
			deliveries: []delivery{good(0, 50), good(1, 1101), good(2, 1200), good(3, 1200), good(4, 1200)},
			want:       account{InTime: 4, Late: 1, Recoveries: []time.Duration{1100 * time.Millisecond}},
		},
		"a decoded picture that a newer one took the place of": {
			deliveries: []delivery{good(0, 50), good(2, 250), good(3, 350), good(4, 450)},
			verdicts:   map[uint32]verdict{1: {at(250), "SUPERSEDED"}},
			want:       account{InTime: 5, Superseded: 1},
		},
		"a wrong one after those that count": {
			deliveries: []delivery{good(0, 50), good(1, 150), good(2, 250), good(3, 350), good(4, 450), {5, at(550), truth[4]}},
			want:       account{InTime: 5, Damaged: 1},
		},
		"no recovery": {
			deliveries: []delivery{good(0, 50)},
			want:       account{InTime: 1, Reasons: map[string]int{"unseen": 4}, Recoveries: []time.Duration{2900 * time.Millisecond}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := reckon(shots, 5, truth, test.deliveries, test.verdicts, end)
			got.Delays = nil
			test.want.Frames = 5
			if test.want.Reasons == nil {
				test.want.Reasons = map[string]int{}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("reckon:\n got %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestGoals(t *testing.T) {
	tests := map[string]struct {
		outcome Outcome
		want    bool
	}{
		"reached":          {Outcome{Cell: Cell{Loss: 0.05}, account: account{Frames: 100, InTime: 95}}, true},
		"missed":           {Outcome{Cell: Cell{Loss: 0.05}, account: account{Frames: 100, InTime: 94}}, false},
		"a damaged one":    {Outcome{Cell: Cell{Loss: 0.05}, account: account{Frames: 100, InTime: 100, Damaged: 1}}, false},
		"no goal":          {Outcome{Cell: Cell{Loss: 0.2}, account: account{Frames: 100}}, true},
		"damage, no goal":  {Outcome{Cell: Cell{Loss: 0.2}, account: account{Frames: 100, Damaged: 1}}, false},
		"one in a hundred": {Outcome{Cell: Cell{Loss: 0.01}, account: account{Frames: 100, InTime: 98}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.outcome.Met(); got != test.want {
				t.Errorf("Met() = %t, want %t", got, test.want)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	values := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g = %d, want %d", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %d, want 0", got)
	}
}
