//go:build linux && (amd64 || arm64)

package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rule lets a system call through, or answers it with an error, when all its conditions hold. Where they do not, the process ends.
//
// The filter is assembled here rather than by go-seccomp-bpf, whose programs (v1.6.0) go on after a failed condition with the argument in
// the accumulator where the number of the call is expected: clone with the flags 0 would pass as read, which is number 0.
type rule struct {
	call       uint32
	conditions []condition
	errno      unix.Errno // 0 allows
}

// condition demands that argument & mask == value, and that nothing is set in the argument's upper half.
type condition struct {
	argument    uint32
	mask, value uint32
}

// Offsets in struct seccomp_data, whose arguments are of 64 bits, little endian here.
const (
	offsetCall      = 0
	offsetArch      = 4
	offsetArguments = 16
	word            = 4
)

// assemble makes the filter: the wrong architecture and every call without a rule end the process.
func assemble(rules []rule) ([]unix.SockFilter, error) {
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: word},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
	}
	for _, r := range rules {
		program = append(program, r.instructions()...)
	}
	program = append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS})
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		out[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return out, nil
}

func (r rule) instructions() []bpf.Instruction {
	var body []bpf.Instruction
	for _, c := range r.conditions {
		low := offsetArguments + c.argument*2*word
		body = append(body,
			bpf.LoadAbsolute{Off: low + word, Size: word},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
			bpf.LoadAbsolute{Off: low, Size: word},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.value, SkipTrue: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS})
	}
	verdict := uint32(unix.SECCOMP_RET_ALLOW)
	if r.errno != 0 {
		verdict = unix.SECCOMP_RET_ERRNO | uint32(r.errno)
	}
	body = append(body, bpf.RetConstant{Val: verdict})
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetCall, Size: word},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.call, SkipFalse: uint8(len(body))},
	}, body...)
}

// install puts the filter on every thread of the process.
func install(program []unix.SockFilter) error {
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&fprog))) //nolint:gosec // how the call takes its filter
	if errno != 0 {
		return fmt.Errorf("installing the system-call filter: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("installing the system-call filter: thread %d has one of its own", thread)
	}
	return nil
}
