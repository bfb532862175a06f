package ipc

import "fmt"

// Hello is the first message of the decoder process, sent once its sandbox stands and before it has seen any unit.
type Hello struct {
	// Landlock is the kernel's Landlock ABI in force, 0 for none.
	Landlock uint8
	// Seccomp is true when the system-call filter is in force.
	Seccomp bool
}

const helloBytes = 8

// Append appends the message to b.
func (h Hello) Append(b []byte) []byte {
	seccomp := byte(0)
	if h.Seccomp {
		seccomp = 1
	}
	return append(b, 'S', 'L', 'C', 'D', Version, h.Landlock, seccomp, 0)
}

// Parse reads the message and refuses another version.
func (h *Hello) Parse(b []byte) error {
	if len(b) != helloBytes || string(b[:4]) != "SLCD" {
		return errLength
	}
	if b[4] != Version {
		return fmt.Errorf("the decoder speaks version %d, this edge %d: install both from one build", b[4], Version)
	}
	*h = Hello{Landlock: b[5], Seccomp: b[6] == 1}
	return nil
}
