//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// action is something that a decoder must never do.
type action struct {
	name string
	try  func() error
	// want is how it is refused: by the end of the process, if empty, or by an error.
	want unix.Errno
	// privileged is true when it is refused to most processes anyway, or cannot be survived, so that nothing can be shown without the sandbox.
	privileged bool
}

// call makes an action of a system call.
func call(number uintptr, arguments ...uintptr) func() error {
	var a [6]uintptr
	copy(a[:], arguments)
	return func() error {
		if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
}

func one[T any](_ T, err error) error { return err }

func forbidden() []action {
	return append(append(files(), processes()...), rest()...)
}

func files() []action {
	return []action{
		{name: "open a file", try: func() error { return one(unix.Open("/etc/passwd", unix.O_RDONLY, 0)) }, want: unix.EACCES},
		{name: "create a file", try: func() error {
			return one(unix.Open(os.TempDir(), unix.O_RDWR|unix.O_TMPFILE, 0o600))
		}, want: unix.EACCES},
		{name: "list a directory", try: func() error { return one(os.ReadDir("/")) }, want: unix.EACCES},
		{name: "look at a file", try: func() error { return unix.Stat("/etc/passwd", new(unix.Stat_t)) }},
		{name: "read a link", try: func() error { return one(unix.Readlink("/proc/self/exe", make([]byte, 64))) }},
		{name: "change directory", try: func() error { return unix.Chdir("/") }},
		{name: "open by handle", try: call(unix.SYS_OPEN_BY_HANDLE_AT), privileged: true},
		{name: "mount", try: func() error { return unix.Mount("none", "/mnt", "tmpfs", 0, "") }, privileged: true},
		{name: "change root", try: func() error { return unix.Chroot("/") }, privileged: true},
		{name: "TCP socket", try: func() error { return one(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) }},
		{name: "UDP socket", try: func() error { return one(unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)) }},
		{name: "unix socket", try: func() error { return one(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)) }},
		{name: "connect what it has", try: func() error {
			return unix.Connect(socketFD, &unix.SockaddrUnix{Name: "\x00sluice"})
		}, privileged: true},
		{name: "pass a descriptor on", try: func() error {
			return unix.Sendmsg(socketFD, []byte{0}, unix.UnixRights(0), nil, 0)
		}},
		{name: "receive a descriptor", try: func() error {
			_, _, _, _, err := unix.Recvmsg(socketFD, make([]byte, 1), make([]byte, 64), 0)
			return err
		}},
		{name: "socket pair", try: func() error { return one(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)) }},
		{name: "pipe", try: func() error { return unix.Pipe2(make([]int, 2), 0) }},
		{name: "duplicate a descriptor", try: func() error { return one(unix.Dup(0)) }},
		{name: "anonymous file", try: func() error { return one(unix.MemfdCreate("x", 0)) }},
		{name: "event descriptor", try: func() error { return one(unix.Eventfd(0, 0)) }},
		{name: "watch files", try: func() error { return one(unix.InotifyInit1(0)) }},
		{name: "control a device", try: func() error { return one(unix.IoctlGetInt(socketFD, unix.TIOCINQ)) }},
	}
}

func processes() []action {
	parent := os.Getppid()
	return []action{
		{name: "fork", try: func() error { return fork(uintptr(unix.SIGCHLD)) }},
		{name: "fork by flags that are an allowed call's number", try: func() error { return fork(0) }},
		{name: "clone3", try: call(unix.SYS_CLONE3, 0, 0), want: unix.ENOSYS, privileged: true},
		{name: "run a program", try: func() error {
			return unix.Exec("/bin/echo", []string{"echo", allowed}, nil)
		}},
		// Not tried outside: there it succeeds, and the next signal, of the Go runtime's scheduler say, stops the process for good.
		{name: "be traced", try: call(unix.SYS_PTRACE, unix.PTRACE_TRACEME), privileged: true},
		{name: "read another process's memory", try: func() error {
			b := make([]byte, 1)
			local, remote := []unix.Iovec{{Base: &b[0], Len: 1}}, []unix.RemoteIovec{{Base: 0, Len: 1}}
			return one(unix.ProcessVMReadv(parent, local, remote, 0))
		}, privileged: true},
		{name: "signal its edge", try: func() error { return unix.Kill(parent, 0) }},
		{name: "signal a thread of its edge", try: func() error { return unix.Tgkill(parent, parent, 0) }},
		{name: "handle of a process", try: func() error { return one(unix.PidfdOpen(parent, 0)) }},
		{name: "raise its limits", try: func() error {
			return unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
		}},
		{name: "become dumpable", try: func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }, want: unix.EINVAL},
		{name: "change user", try: call(unix.SYS_SETRESUID, ^uintptr(0), ^uintptr(0), ^uintptr(0))},
		{name: "change priority", try: func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, 19) }},
		{name: "new namespace", try: func() error { return unix.Unshare(unix.CLONE_NEWUSER) }, privileged: true},
	}
}

// fork makes a process that ends at once.
func fork(flags uintptr) error {
	child, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if child == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

func rest() []action {
	page := uintptr(os.Getpagesize())
	return []action{
		{name: "executable memory", try: call(unix.SYS_MMAP, 0, page, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)},
		{name: "make memory executable", try: func() error {
			memory, err := unix.Mmap(-1, 0, int(page), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return fmt.Errorf("not what is tried: %w", err)
			}
			return unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC)
		}},
		{name: "shared memory of System V", try: call(unix.SYS_SHMGET, 0, page, 0o1600)},
		{name: "message queue", try: call(unix.SYS_MSGGET, 0, 0o1600)},
		{name: "key ring", try: call(unix.SYS_KEYCTL, 0, 0, 0), privileged: true},
		{name: "kernel programs", try: call(unix.SYS_BPF, 0), privileged: true},
		{name: "ring of calls", try: call(unix.SYS_IO_URING_SETUP, 1, 0), privileged: true},
		{name: "user fault handling", try: call(unix.SYS_USERFAULTFD), privileged: true},
		{name: "performance counters", try: call(unix.SYS_PERF_EVENT_OPEN), privileged: true},
		{name: "another filter", try: call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0), privileged: true},
		{name: "personality", try: call(unix.SYS_PERSONALITY, 0xffffffff)},
		{name: "host name", try: func() error { return unix.Sethostname([]byte("x")) }, privileged: true},
		{name: "timer signals", try: call(unix.SYS_SETITIMER, 0, 0, 0)},
		{name: "call of the x32 variant", try: call(unix.SYS_GETPID | 0x40000000), privileged: true},
		{name: "call that does not exist", try: call(4000), privileged: true},
	}
}
