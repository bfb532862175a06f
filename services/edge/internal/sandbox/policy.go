//go:build linux && (amd64 || arm64)

package sandbox

import "golang.org/x/sys/unix"

// policy is all that a process with the given id may ask of the kernel once it is set up: what Go's runtime, glibc's allocator and
// threads, and reading and writing descriptors that are open need.
func policy(pid int) []rule {
	notExecutable := []condition{{argument: 2, mask: unix.PROT_EXEC, value: 0}}
	rules := []rule{
		// A unit comes in and its answer goes out.
		{call: unix.SYS_READ},
		{call: unix.SYS_WRITE},
		{call: unix.SYS_PPOLL},

		// Memory, none of it executable.
		{call: unix.SYS_MMAP, conditions: notExecutable},
		{call: unix.SYS_MPROTECT, conditions: notExecutable},
		{call: unix.SYS_MUNMAP},
		{call: unix.SYS_MREMAP},
		{call: unix.SYS_MADVISE},
		{call: unix.SYS_BRK},

		// Threads, but no processes and no namespaces. clone3 hides its flags from filters; glibc goes on with clone.
		{call: unix.SYS_CLONE, conditions: []condition{{argument: 0, mask: unix.CLONE_THREAD | namespaces, value: unix.CLONE_THREAD}}},
		{call: unix.SYS_CLONE3, errno: unix.ENOSYS},
		{call: unix.SYS_SET_ROBUST_LIST},
		{call: unix.SYS_RSEQ},
		{call: unix.SYS_FUTEX},
		{call: unix.SYS_SCHED_YIELD},
		{call: unix.SYS_SCHED_GETAFFINITY},
		{call: unix.SYS_GETPID},
		{call: unix.SYS_GETTID},
		{call: unix.SYS_EXIT},
		{call: unix.SYS_EXIT_GROUP},

		// Signals to itself: Go preempts goroutines by them.
		{call: unix.SYS_TGKILL, conditions: []condition{{argument: 0, mask: 1<<32 - 1, value: uint32(pid)}}},
		{call: unix.SYS_RT_SIGACTION},
		{call: unix.SYS_RT_SIGPROCMASK},
		{call: unix.SYS_RT_SIGRETURN},
		{call: unix.SYS_SIGALTSTACK},
		{call: unix.SYS_RESTART_SYSCALL},

		// Time, and Go's poller, which was made before.
		{call: unix.SYS_CLOCK_GETTIME},
		{call: unix.SYS_CLOCK_NANOSLEEP},
		{call: unix.SYS_NANOSLEEP},
		{call: unix.SYS_EPOLL_PWAIT},

		// glibc's allocator seeds itself.
		{call: unix.SYS_GETRANDOM},

		// Asked for in passing by Go's runtime (names for mappings) and glibc (memory size; and files that tell the number of processors or a
		// thread's stack, at moments that nobody can foresee); both do without.
		{call: unix.SYS_OPENAT, errno: unix.EACCES},
		{call: unix.SYS_PRCTL, errno: unix.EINVAL},
		{call: unix.SYS_SYSINFO, errno: unix.EPERM},
	}
	return append(rules, policyOfArch()...)
}

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID |
	unix.CLONE_NEWNET | unix.CLONE_NEWTIME
