package speech

import (
	"slices"
	"testing"
	"time"
)

func TestSpans(t *testing.T) {
	t.Parallel()
	const hop = 50 * time.Millisecond
	span := func(from, to int, peak float64) Span {
		return Span{Start: time.Duration(from) * hop, End: time.Duration(to) * hop, Peak: peak}
	}
	for name, c := range map[string]struct {
		probabilities []float64
		want          []Span
	}{
		"nothing":             {nil, nil},
		"silence":             {[]float64{0, 0.1, 0.49, 0.3}, nil},
		"speech":              {[]float64{0, 0.5, 0.9, 0.6, 0.1, 0}, []Span{span(1, 4, 0.9)}},
		"it wavers":           {[]float64{0, 0.8, 0.4, 0.36, 0.7, 0.34, 0.4}, []Span{span(1, 5, 0.8)}},
		"to the end":          {[]float64{0, 0, 0.7, 0.8}, []Span{span(2, 4, 0.8)}},
		"a cough":             {[]float64{0, 0.9, 0, 0, 0, 0, 0}, nil},
		"a short pause":       {[]float64{0.6, 0.9, 0, 0, 0, 0, 0, 0.7, 0.8}, []Span{span(0, 9, 0.9)}},
		"a pause":             {[]float64{0.6, 0.9, 0, 0, 0, 0, 0, 0, 0.7, 0.8}, []Span{span(0, 2, 0.9), span(8, 10, 0.8)}},
		"coughs in a row":     {[]float64{0.9, 0, 0.9, 0, 0, 0, 0, 0, 0, 0}, []Span{span(0, 3, 0.9)}},
		"too likely to pause": {[]float64{0.6, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6}, []Span{span(0, 9, 0.6)}},
	} {
		var windows []Window
		for n, p := range c.probabilities {
			windows = append(windows, Window{Start: time.Duration(n) * hop, Probability: p})
		}
		if got := Spans(windows, hop); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		slices.Reverse(windows)
		if got := Spans(windows, hop); !slices.Equal(got, c.want) {
			t.Errorf("%s, backwards: %v, want %v", name, got, c.want)
		}
	}
}
