package decoder_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// program is the decoder's program, built for the tests.
var program string

func TestMain(m *testing.M) {
	if path := os.Getenv(edgeVariable); path != "" {
		os.Exit(actAsEdge(path, os.Stdout))
	}
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(role))
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-decoder-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "sluice-decoder")
	build := exec.Command("go", "build", "-o", program, "../../cmd/sluice-decoder")
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
