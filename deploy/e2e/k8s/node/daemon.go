package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Daemon runs a program until the test ends. What it says goes to a file of its name among the logs.
func (n *Node) Daemon(t testing.TB, name, binary string, arguments ...string) {
	t.Helper()
	n.daemon(t, name, binary, arguments...)
}

func (n *Node) daemon(t testing.TB, name, binary string, arguments ...string) {
	t.Helper()
	path := filepath.Join(n.logs, name+".log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, arguments...)
	command.Stdout, command.Stderr = log, log
	command.Dir = n.work
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait() // Its end is no news: the test ends it, or misses it.
	}()
	t.Cleanup(func() {
		select {
		case <-ended:
			t.Errorf("%s ended before the test: %s: see %s", name, command.ProcessState, path)
		default:
			_ = command.Process.Kill() // There is nothing to tidy up: the namespaces go, and the folder.
			<-ended
		}
		_ = log.Close()
	})
}
