package decoder

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// memory is the block shared with the decoder process and the account of its slots. It outlives processes: payloads in use survive a
// crash, and the block is unmapped when the last of them is released after close. It is safe for concurrent use.
type memory struct {
	layout ipc.Layout
	file   *os.File
	bytes  []byte

	mu      sync.Mutex
	free    []int
	closed  bool
	release []func() // by slot, made once so that leasing allocates nothing
}

// newMemory makes the block. Its size is sealed, so that no process that holds it can take pages away from under the others.
func newMemory(layout ipc.Layout) (*memory, error) {
	fd, err := unix.MemfdCreate("sluice-decoder", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("making shared memory: %w", err)
	}
	m := &memory{layout: layout, file: os.NewFile(uintptr(fd), "sluice-decoder memory")}
	if err := m.mapAndSeal(fd); err != nil {
		_ = m.file.Close()
		return nil, err
	}
	for i := layout.Slots - 1; i >= 0; i-- {
		m.free = append(m.free, i)
	}
	for i := range layout.Slots {
		m.release = append(m.release, func() { m.put(i) })
	}
	return m, nil
}

func (m *memory) mapAndSeal(fd int) (err error) {
	if err := unix.Ftruncate(fd, int64(m.layout.Size())); err != nil {
		return fmt.Errorf("sizing shared memory to %d bytes: %w", m.layout.Size(), err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("sealing shared memory: %w", err)
	}
	m.bytes, err = unix.Mmap(fd, 0, m.layout.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping shared memory: %w", err)
	}
	return nil
}

// take leases a slot; false when all are in use.
func (m *memory) take() (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.free) == 0 {
		return 0, false
	}
	i := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	return i, true
}

// put ends a lease.
func (m *memory) put(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free = append(m.free, i)
	m.unmapUnused()
}

// setInput copies a unit to the input area, after those ahead of it, with the zeros that decoders read past its end.
func (m *memory) setInput(ahead, unit []byte) {
	area := m.layout.Input(m.bytes)
	n := copy(area[:ipc.MaxAheadBytes], ahead)
	area = area[n : n+m.layout.Unit+ipc.Padding]
	n = copy(area[:m.layout.Unit], unit)
	clear(area[n : n+ipc.Padding])
}

// sound gives the area of the first n samples of a reply.
func (m *memory) sound(n int) []byte { return m.layout.Sound(m.bytes)[: 2*n : 2*n] }

func (m *memory) payload(slot, size int) []byte { return m.layout.Slot(m.bytes, slot)[:size:size] }

// close gives the block back, at once or when the last lease ends. No unit may be under way.
func (m *memory) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	_ = m.file.Close()
	m.unmapUnused()
}

func (m *memory) unmapUnused() {
	if !m.closed || len(m.free) < m.layout.Slots || m.bytes == nil {
		return
	}
	_ = unix.Munmap(m.bytes)
	m.bytes = nil
}
