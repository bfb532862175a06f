package backendtest

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
)

// Spoken gives a text as espeak-ng reads it: samples of one channel at 16 kHz, 16-bit little-endian, without silence before or after. voice is one of
// `espeak-ng --voices`, with a variant: en+f3.
func Spoken(tb testing.TB, voice, text string) []byte {
	tb.Helper()
	spoken, samples := filepath.Join(tb.TempDir(), "spoken.wav"), filepath.Join(tb.TempDir(), "samples")
	for _, command := range [][]string{
		{"espeak-ng", "-v", voice, "-s", "150", "-z", "-w", spoken, text},
		{"ffmpeg", "-nostdin", "-loglevel", "error", "-i", spoken, "-ac", "1", "-ar", "16000", "-f", "s16le", samples},
	} {
		if out, err := exec.CommandContext(tb.Context(), command[0], command[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the words are the test's own
			tb.Fatalf("%s: %v\n%s\n`.tools/deps.sh test` installs what is missing", command[0], err, out)
		}
	}
	data, err := os.ReadFile(samples)
	if err != nil {
		tb.Fatal(err)
	}
	first, last := len(data), 0
	for i := 0; i+2 <= len(data); i += 2 {
		const quiet = 300 // of 32768
		if s := int16(binary.LittleEndian.Uint16(data[i:])); s > quiet || s < -quiet {
			first, last = min(first, i), i+2
		}
	}
	if last-first < 16000 {
		tb.Fatalf("espeak-ng said nothing: %d bytes", len(data))
	}
	return data[first:last]
}

// Windows cuts samples into the payloads of an input; what is left at the end is not given.
func Windows(in media.SoundInput, samples []byte) [][]byte {
	var windows [][]byte
	padded := append(make([]byte, 2*in.Context), samples...)
	for at := 0; at+2*in.Samples() <= len(padded); at += 2 * in.Hop {
		windows = append(windows, padded[at:at+2*in.Samples()])
	}
	return windows
}
