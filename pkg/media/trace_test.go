package media

import (
	"strings"
	"testing"
)

// traced is the trace of the tests, sampled.
const traced = "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"

// traceparents are texts, and whether they are of a trace that is recorded.
var traceparents = map[string]bool{
	traced: true,
	"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-03":      true, // another flag too
	"01-0102030405060708090a0b0c0d0e0f10-1112131415161718-01":      true,
	"cc-0102030405060708090a0b0c0d0e0f10-1112131415161718-01-what": true,
	"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-00":      false, // not sampled
	"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01-what": false,
	"01-0102030405060708090a0b0c0d0e0f10-1112131415161718-01what":  false,
	"ff-0102030405060708090a0b0c0d0e0f10-1112131415161718-01":      false,
	"00-00000000000000000000000000000000-1112131415161718-01":      false,
	"00-0102030405060708090a0b0c0d0e0f10-0000000000000000-01":      false,
	"00-0102030405060708090A0B0C0D0E0F10-1112131415161718-01":      false,
	"00-0102030405060708090a0b0c0d0e0f1g-1112131415161718-01":      false,
	"00_0102030405060708090a0b0c0d0e0f10_1112131415161718_01":      false,
	"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-0":       false,
	"": false,
}

func TestParseTrace(t *testing.T) {
	t.Parallel()
	for text, want := range traceparents {
		got, ok := ParseTrace(text)
		switch {
		case ok != want:
			t.Errorf("%q is a trace: %v, want %v", text, ok, want)
		case !ok && got.Valid():
			t.Errorf("%q is refused, but gives %v", text, got)
		case ok && got.String() != traced:
			t.Errorf("%q is read as %q", text, got)
		}
	}
	if text := (Trace{}).String(); text != "" {
		t.Errorf("no trace is written as %q", text)
	}
}

// FuzzTrace reads what edges may send: what is a trace is written as it was read, but for the version, other flags and what came after them.
func FuzzTrace(f *testing.F) {
	for text := range traceparents {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := ParseTrace(text)
		if !ok {
			return
		}
		written := got.String()
		if again, ok := ParseTrace(written); !ok || again != got {
			t.Errorf("%q is written as %q, which is read as %v, %v", text, written, again, ok)
		}
		if !strings.HasPrefix(text[3:], written[3:53]) {
			t.Errorf("%q is written as %q", text, written)
		}
	})
}
