package cpu

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// address is the only one that takes part, on a cable of the benchmark's own whose other end is in the same place.
var address = net.IPv4(10, 78, 0, 1)

// Inside runs this program again with other arguments in a new network namespace, which ends with it. Without root it takes a user namespace, where the kernel allows that.
func Inside(ctx context.Context, arguments ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, self, arguments...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if id := os.Getuid(); id != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("a network namespace is needed, for some WebRTC stacks do not talk on loopback; run it as root: %w", err)
	}
	return command.Wait()
}

// setUpNetwork makes the namespace usable.
func setUpNetwork(ctx context.Context) error {
	for _, line := range []string{
		"link set lo up", "link add media0 type veth peer name media1", "address add " + address.String() + "/24 dev media0", "link set media0 up", "link set media1 up",
	} {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, lastLine(out))
		}
	}
	return nil
}

// lastLine gives the last line of what a program said.
func lastLine(out []byte) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(lines[len(lines)-1])
}
