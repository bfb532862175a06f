//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const pid = 4711

// verdict runs the filter as the kernel does. The machine of package bpf reads numbers big endian, so they are given so; the halves of the
// arguments stay in a little-endian machine's order.
func verdict(t *testing.T, arch, call uint32, arguments ...uint64) uint32 {
	t.Helper()
	assembled, err := assemble(policy(pid))
	if err != nil {
		t.Fatal(err)
	}
	program := make([]bpf.Instruction, len(assembled))
	for i, in := range assembled {
		program[i] = bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble()
	}
	machine, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(nil, call)
	data = binary.BigEndian.AppendUint32(data, arch)
	data = binary.BigEndian.AppendUint64(data, 0) // instruction pointer
	for i := range 6 {
		var a uint64
		if i < len(arguments) {
			a = arguments[i]
		}
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	got, err := machine.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func TestFilter(t *testing.T) {
	const (
		allow = uint32(unix.SECCOMP_RET_ALLOW)
		kill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
		fails = uint32(unix.SECCOMP_RET_ERRNO)
		// What glibc's pthread_create asks for.
		thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS |
			unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID
	)
	for _, c := range []struct {
		name      string
		call      uint32
		arguments []uint64
		want      uint32
	}{
		{"read", unix.SYS_READ, []uint64{3}, allow},
		{"open", unix.SYS_OPENAT, nil, fails | uint32(unix.EACCES)},
		{"memory", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}, allow},
		{"executable memory", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, kill},
		{"memory made executable", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_EXEC}, kill},
		{"protection beyond 32 bits", unix.SYS_MPROTECT, []uint64{0, 4096, 1 << 32}, kill},
		{"thread", unix.SYS_CLONE, []uint64{thread}, allow},
		{"fork", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, kill},
		{"clone without flags", unix.SYS_CLONE, []uint64{0}, kill},
		{"clone with flags that are an allowed call's number", unix.SYS_CLONE, []uint64{unix.SYS_READ}, kill},
		{"thread in a namespace of its own", unix.SYS_CLONE, []uint64{thread | unix.CLONE_NEWUSER}, kill},
		{"clone3", unix.SYS_CLONE3, nil, fails | uint32(unix.ENOSYS)},
		{"signal to itself", unix.SYS_TGKILL, []uint64{pid, 1, 2}, allow},
		{"signal to another", unix.SYS_TGKILL, []uint64{pid + 1, 1, 2}, kill},
		{"prctl", unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}, fails | uint32(unix.EINVAL)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := verdict(t, auditArch, c.call, c.arguments...); got != c.want {
				t.Errorf("verdict %#x, want %#x", got, c.want)
			}
		})
	}
	if got := verdict(t, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != kill {
		t.Errorf("a call of another architecture: verdict %#x, want %#x", got, kill)
	}
}

// TestEveryOtherCallEndsTheProcess tries every number, also those of the x32 variant.
func TestEveryOtherCallEndsTheProcess(t *testing.T) {
	rules := policy(pid)
	if len(rules) > 40 {
		t.Errorf("%d calls have rules, at most 40 are wanted", len(rules))
	}
	known := make(map[uint32]bool)
	for _, r := range rules {
		if known[r.call] {
			t.Errorf("call %d has two rules", r.call)
		}
		known[r.call] = true
	}
	for call := range uint32(600) {
		if known[call] {
			continue
		}
		for _, number := range []uint32{call, call | 0x40000000, call | 1<<31} {
			if got := verdict(t, auditArch, number); got != unix.SECCOMP_RET_KILL_PROCESS {
				t.Errorf("call %#x has the verdict %#x", number, got)
			}
		}
	}
}
