package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU gives the processor time, user and system, that a process has used.
func CPU(pid int) (time.Duration, error) {
	// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED), of clock_getcpuclockid(3).
	clock := int32(^pid<<3 | 2)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// PSS gives the bytes of memory that a process uses, with its share of what it shares.
func PSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "Pss:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: the kernel gives no Pss", pid)
}

// Children gives the processes that a process has started and that still run.
func Children(pid int) ([]int, error) {
	// Every thread has children of its own.
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var children []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			children = append(children, child)
		}
	}
	return children, nil
}

// family is how often the processes of a program are looked up anew when one ends while it is being read.
const family = 5

// TreeCPU gives the processor time of a process and of those that it has started, those that have ended included.
func TreeCPU(pid int) (total time.Duration, err error) {
	for range family {
		if total, err = treeCPU(pid); err == nil {
			return total, nil
		}
	}
	return 0, err
}

func treeCPU(pid int) (time.Duration, error) {
	total, err := CPU(pid)
	if err != nil {
		return 0, err
	}
	reaped, err := reapedCPU(pid)
	if err != nil {
		return 0, err
	}
	children, err := Children(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range children {
		t, err := CPU(child)
		if err != nil {
			return 0, err
		}
		total += t
	}
	return total + reaped, nil
}

// reapedCPU gives the processor time of the children that a process has waited for, in whole hundredths of a second (proc_pid_stat(5)).
func reapedCPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, in parentheses, may hold anything. cutime and cstime are the 16th and 17th.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("process %d: unreadable stat", pid)
	}
	var ticks int64
	for _, field := range fields[13:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process %d: unreadable stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// TreePSS gives the memory of a process and of those that it has started.
func TreePSS(pid int) (total int64, err error) {
	for range family {
		if total, err = treePSS(pid); err == nil {
			return total, nil
		}
	}
	return 0, err
}

func treePSS(pid int) (int64, error) {
	total, err := PSS(pid)
	if err != nil {
		return 0, err
	}
	children, err := Children(pid)
	if err != nil {
		return 0, err
	}
	for _, child := range children {
		bytes, err := PSS(child)
		if err != nil {
			return 0, err
		}
		total += bytes
	}
	return total, nil
}
