package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

func TestSniff(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]media.Codec{
		"\xff\xd8\xff\xdb...": media.JPEG, "\x89PNG\r\n\x1a\n...": media.PNG, "RIFF\x01\x02\x03\x04WEBPVP8 ": media.WebP,
		"RIFF\x01\x02\x03\x04WAVEfmt ": media.CodecUnknown, "": media.CodecUnknown, "\xff\xd8": media.CodecUnknown, "RIFF": media.CodecUnknown,
		"<svg>": media.CodecUnknown,
	} {
		if got := sniff([]byte(first)); got != want {
			t.Errorf("%q is taken for %v, want %v", first, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	n := names{}
	for _, c := range []struct{ wanted, want string }{
		{"camera", "camera"},
		{"camera", "camera2"},
		{"camera2", "camera22"},
		{"", "video"},
		{"{3c8a14f5-3a3e-4b39-a5b9-6a2f7f1f0b11}", "video2"},
		{"3C8A14F53A3E4B39A5B96A2F7F1F0B11", "video3"},
		{"bell\a", "video4"},
		{"\xff\xfe", "video5"},
		{strings.Repeat("x", 200), "video6"},
		{"café", "café"},
		{"face-2", "face-2"},
	} {
		if got := n.take(c.wanted, "video"); got != c.want {
			t.Errorf("%q is named %q, want %q", c.wanted, got, c.want)
		}
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	b := newBucket(8_000, 500) // 1000 bytes a second, 2500 at most
	for _, step := range []struct {
		after time.Duration
		take  int
		want  bool
	}{
		{0, 2500, true}, {0, 1, false}, {time.Second, 1001, false}, {0, 1000, true}, {-time.Hour, 1, false},
		{2 * time.Hour, 2501, false}, {0, 2500, true},
	} {
		now = now.Add(step.after)
		if got := b.take(step.take, now); got != step.want {
			t.Errorf("%d bytes after %v: %v", step.take, step.after, got)
		}
	}
}

func TestReportsAreRelayedAtMostEvery50Milliseconds(t *testing.T) {
	t.Parallel()
	b := newReportBoard()
	now := time.Unix(1000, 0)
	if !b.post(media.SenderReport{SSRC: 1}, now) || b.post(media.SenderReport{SSRC: 1}, now.Add(relayEvery-1)) ||
		!b.post(media.SenderReport{SSRC: 2}, now) || !b.post(media.SenderReport{SSRC: 1, NTP: 7}, now.Add(relayEvery)) {
		t.Error("the pace is not kept")
	}
	seen := 0
	for range 2 {
		b.update(1, func(r media.SenderReport, _ time.Time) { seen += int(r.NTP) })
	}
	if seen != 7 {
		t.Errorf("the newest report was not given once but makes %d", seen)
	}
}

func TestReassembler(t *testing.T) {
	t.Parallel()
	type step struct {
		chunk     []byte
		whole     string
		abandoned int
		err       error
	}
	for name, script := range map[string][]step{
		"in order":       {{chunk: chunk(1, 0, 2, []byte("ab"))}, {chunk: chunk(1, 1, 2, []byte("cd")), whole: "abcd"}},
		"in disorder":    {{chunk: chunk(1, 1, 2, []byte("cd"))}, {chunk: chunk(1, 0, 2, []byte("ab")), whole: "abcd"}},
		"one alone":      {{chunk: chunk(9, 0, 1, []byte("x")), whole: "x"}},
		"twice the same": {{chunk: chunk(1, 0, 2, []byte("a"))}, {chunk: chunk(1, 0, 2, []byte("a"))}, {chunk: chunk(1, 1, 2, []byte("b")), whole: "ab"}},
		"two at once": {
			{chunk: chunk(1, 0, 2, []byte("a"))}, {chunk: chunk(2, 0, 2, []byte("c"))},
			{chunk: chunk(1, 1, 2, []byte("b")), whole: "ab"}, {chunk: chunk(2, 1, 2, []byte("d")), whole: "cd"},
		},
		"three at once cost the first": {
			{chunk: chunk(1, 0, 2, []byte("a"))}, {chunk: chunk(2, 0, 2, []byte("c"))}, {chunk: chunk(3, 0, 2, []byte("e")), abandoned: 1},
			{chunk: chunk(2, 1, 2, []byte("d")), whole: "cd"},
		},
		"too large": {
			{chunk: chunk(1, 0, 3, []byte("12345"))}, {chunk: chunk(1, 1, 3, []byte("123456")), err: errChunksTooLarge},
			{chunk: chunk(1, 2, 3, []byte("x"))}, {chunk: chunk(2, 0, 1, []byte("fine")), whole: "fine"},
		},
		"as large as allowed": {{chunk: chunk(1, 0, 2, []byte("12345"))}, {chunk: chunk(1, 1, 2, []byte("67890")), whole: "1234567890"}},
		"too many":            {{chunk: chunk(1, 0, maxChunks+1, nil), err: errChunksTooLarge}, {chunk: chunk(1, 1, maxChunks+1, nil)}},
		"no header":           {{chunk: []byte("SLC1 and no more"[:10]), err: errChunkMalformed}},
		"index beyond count":  {{chunk: chunk(1, 2, 2, nil), err: errChunkMalformed}},
		"no chunks":           {{chunk: chunk(1, 0, 0, nil), err: errChunkMalformed}},
		"count changes":       {{chunk: chunk(1, 0, 2, nil)}, {chunk: chunk(1, 1, 3, nil), err: errChunkMalformed}},
		"empty ones":          {{chunk: chunk(1, 0, 2, nil)}, {chunk: chunk(1, 1, 2, []byte("b")), whole: "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := reassembler{limit: 10}
			for i, s := range script {
				whole, _, abandoned, err := r.push(s.chunk, time.Time{})
				if string(whole) != s.whole || abandoned != s.abandoned || !errors.Is(err, s.err) {
					t.Errorf("step %d: %q, %d abandoned, %v", i, whole, abandoned, err)
				}
			}
		})
	}
}

func TestReassemblerGivesUpInTime(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time {
		return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	r := reassembler{limit: 10}
	if next := r.next(); !next.IsZero() {
		t.Errorf("with nothing begun there is something to do at %v", next)
	}
	push := func(chunk []byte, seconds float64, wantWhole string, wantErr error) {
		t.Helper()
		if whole, _, _, err := r.push(chunk, at(seconds)); string(whole) != wantWhole || !errors.Is(err, wantErr) {
			t.Errorf("after %v s: %q, %v", seconds, whole, err)
		}
	}
	push(chunk(1, 0, 2, []byte("a")), 0, "", nil)
	push(chunk(2, 0, 2, []byte("c")), 4, "", nil)
	if next := r.next(); !next.Equal(at(10)) {
		t.Errorf("there is something to do at %v, want ten seconds after the first chunk", next)
	}
	if n := r.expire(at(9.9)); n != 0 {
		t.Errorf("%d given up before their time", n)
	}
	push(chunk(2, 1, 2, []byte("d")), 9.9, "cd", nil)
	if n := r.expire(at(10)); n != 1 || !r.next().IsZero() {
		t.Errorf("%d given up, next at %v", n, r.next())
	}
	push(chunk(1, 1, 2, []byte("b")), 10, "", nil) // a message anew, as far as anybody can tell
	push(chunk(3, 0, 3, []byte("12345678901")), 11, "", errChunksTooLarge)
	if n := r.expire(at(21)); n != 1 { // what was refused has been counted
		t.Errorf("%d given up, want the one that was not refused", n)
	}
	push(chunk(4, 0, 2, []byte("e")), 22, "", nil)
	if n := r.clear(); n != 1 || len(r.messages) != 0 {
		t.Errorf("%d given up at the end, %d left", n, len(r.messages))
	}
}

func FuzzReassembler(f *testing.F) {
	f.Add(chunk(1, 0, 2, []byte("ab")), chunk(1, 1, 2, []byte("cd")))
	f.Add(chunk(1, 0, maxChunks, nil), chunk(1, 1, 3, nil))
	f.Add([]byte("SLC1"), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := reassembler{limit: 1 << 10}
		for range 3 {
			for _, c := range [][]byte{a, b} {
				whole, _, _, _ := r.push(bytes.Clone(c), time.Time{})
				held := 0
				for _, m := range r.messages {
					held += m.bytes
				}
				if len(whole) > r.limit || len(r.messages) > maxPartial || held > maxPartial*r.limit {
					t.Fatalf("%d bytes whole, %d messages with %d bytes held", len(whole), len(r.messages), held)
				}
			}
		}
	})
}

func TestAClientThatLeavesIsNoDefect(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	if r := asRefusal(fmt.Errorf("gather candidates: %w", context.Canceled), logger); r.Code != CodeRequestTimeout || logged.Len() > 0 {
		t.Errorf("a client that left: %v, logged %q", r, logged.String())
	}
	if r := asRefusal(fmt.Errorf("gather candidates: %w", context.DeadlineExceeded), logger); r.Code != CodeInternal || logged.Len() == 0 {
		t.Errorf("an answer that took too long: %v, logged %q", r, logged.String())
	}
}
