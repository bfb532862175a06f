package app

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// decoderProgram is sluice-decoder, built for the tests.
var decoderProgram string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	directory, err := os.MkdirTemp("", "sluice-edge-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(directory) }()
	decoderProgram = filepath.Join(directory, "sluice-decoder")
	build := exec.Command("go", "build", "-o", decoderProgram, "../../cmd/sluice-decoder")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice-decoder (are gcc, libavcodec-dev, libswresample-dev, libopus-dev and libyuv-dev installed?): %v\n%s", err, output)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
