package proc

import (
	"os"
	"testing"
	"time"
)

// A process that computes has used time after its end as well as while it ran, as its parent's.
func TestTreeCPUCountsThoseThatHaveEnded(t *testing.T) {
	before, err := TreeCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Options{Path: "/bin/sh", Arguments: []string{"-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	after, err := TreeCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own := p.command.ProcessState.UserTime() + p.command.ProcessState.SystemTime()
	if got := after - before; got < own-20*time.Millisecond || own < 20*time.Millisecond {
		t.Errorf("%v used according to the kernel's counts, %v by the child alone", got, own)
	}
}

func TestPSS(t *testing.T) {
	bytes, err := TreePSS(os.Getpid())
	if err != nil || bytes < 1<<20 || bytes > 1<<30 {
		t.Errorf("this process has %d bytes, %v", bytes, err)
	}
}

func TestAProgramThatFails(t *testing.T) {
	p, err := Start(Options{Path: "/bin/sh", Arguments: []string{"-c", "echo why; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	if err := p.Stop(); err == nil {
		t.Error("a program that ended with status 3 is taken to have ended well")
	}
	if got := p.Log(); got != "why" {
		t.Errorf("it said %q", got)
	}
}
