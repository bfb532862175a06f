package wire

import (
	"runtime"

	"google.golang.org/grpc/mem"
)

// Lease lends gRPC memory that it may read until it frees the buffer, which calls first release and then written, each once and from any goroutine. Either may be nil.
// The data must be longer than 1 KiB, or gRPC does not count the references to it.
//
// gRPC frees what it has written, and what a call left unwritten, but it forgets buffers that are on their way when their connection breaks. So a lease that nobody can
// reach any more is released by the garbage collector: no sooner than gRPC could read it last, and never not at all. Nothing was written then.
func Lease(data []byte, release, written func()) mem.Buffer {
	if release == nil && written == nil {
		return mem.SliceBuffer(data)
	}
	l := &lease{data: data, release: release, written: written}
	if release != nil {
		l.forgotten = runtime.AddCleanup(l, func(release func()) { release() }, release)
	}
	return mem.NewBuffer(&l.data, l)
}

// lease is the mem.BufferPool of one buffer: gRPC puts the buffer back when it has no more use for it.
type lease struct {
	data             []byte
	release, written func() // may be nil
	forgotten        runtime.Cleanup
}

// Get implements mem.BufferPool. It is never called on a lease.
func (*lease) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool.
func (l *lease) Put(*[]byte) {
	l.data = nil
	if l.release != nil {
		l.forgotten.Stop()
		l.release()
	}
	if l.written != nil {
		l.written()
	}
	runtime.KeepAlive(l) // or the garbage collector could release it once more before Stop
}
