//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fencedVariable makes the test binary a process behind Landlock alone that tries to open a file.
const fencedVariable = "SLUICE_TEST_LANDLOCK"

func TestMain(m *testing.M) {
	if os.Getenv(fencedVariable) != "" {
		os.Exit(openFenced(os.Stdout))
	}
	os.Exit(m.Run())
}

// openFenced tries from the main thread, from threads that were there before, and from one that comes later.
func openFenced(out io.Writer) int {
	const before = 4
	start, answers := make(chan struct{}), make(chan error)
	open := func() {
		runtime.LockOSThread() // ends the thread with the goroutine, so that no other takes it
		<-start
		fd, err := unix.Open("/etc/passwd", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		answers <- err
	}
	for range before {
		go open()
	}
	if _, err := denyFiles(); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	go open()
	close(start)
	for range before + 1 {
		fmt.Fprintln(out, "open:", <-answers)
	}
	return 0
}

// TestLandlockHoldsInEveryThread looks at the second fence by itself, since the first would end the process before it is reached.
func TestLandlockHoldsInEveryThread(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fencedVariable+"=1")
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	want := fmt.Sprintf("open: %v\n", unix.EACCES)
	if got := strings.Count(string(output), want); got != 5 {
		t.Errorf("%d of 5 threads were refused:\n%s", got, output)
	}
}
