package wire

import (
	"runtime"

	"google.golang.org/grpc/mem"
)

// Lease lends gRPC memory that it may read until it frees the buffer, which calls release once, from any goroutine. A nil release is never called. The data must be longer than
// 1 KiB, or gRPC does not count the references to it.
//
// gRPC frees what it has written, and what a call left unwritten, but it forgets buffers that are on their way when their connection breaks. So a lease that nobody can
// reach any more is released by the garbage collector: no sooner than gRPC could read it last, and never not at all.
func Lease(data []byte, release func()) mem.Buffer {
	if release == nil {
		return mem.SliceBuffer(data)
	}
	l := &lease{data: data, release: release}
	l.forgotten = runtime.AddCleanup(l, func(release func()) { release() }, release)
	return mem.NewBuffer(&l.data, l)
}

// lease is the mem.BufferPool of one buffer: gRPC puts the buffer back when it has no more use for it.
type lease struct {
	data      []byte
	release   func()
	forgotten runtime.Cleanup
}

// Get implements mem.BufferPool. It is never called on a lease.
func (*lease) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool.
func (l *lease) Put(*[]byte) {
	l.forgotten.Stop()
	release := l.release
	l.data, l.release = nil, nil
	runtime.KeepAlive(l) // until here the garbage collector must not come first
	release()
}
