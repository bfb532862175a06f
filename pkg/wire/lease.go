package wire

import (
	"runtime"
	"sync"
	"weak"

	"google.golang.org/grpc/mem"
)

// Lender lends memory to gRPC. The connections that it makes, see [Lender.DialOptions], know what is lent, and write a message from where it lies in one go. The zero value
// is ready; a nil one lends too, but makes no connections. It is safe for concurrent use.
type Lender struct {
	mu sync.Mutex
	// next has each lease by the byte that gRPC writes next of it: it writes a message's bytes in their order. It does not keep the leases.
	next map[*byte]weak.Pointer[lease]
}

// Lease lends gRPC memory that it may read until it frees the buffer, which calls first release and then written, each once and from any goroutine. Either may be nil.
// The data must be longer than 1 KiB, or gRPC does not count the references to it. The lease may hold more of the message than data: before, in its order, is what goes
// right before data, in buffers that need not tell when they are freed.
//
// gRPC frees what it has written, and what a call left unwritten, but it forgets buffers that are on their way when their connection breaks. So a lease that nobody can
// reach any more is released by the garbage collector: no sooner than gRPC could read it last, and never not at all. Nothing was written then.
func (k *Lender) Lease(data []byte, release, written func(), before ...[]byte) mem.Buffer {
	if k == nil && release == nil && written == nil {
		return mem.SliceBuffer(data)
	}
	l := &lease{data: data, release: release, written: written, lender: k, before: before}
	if k != nil {
		k.mu.Lock()
		k.expect(l)
		k.mu.Unlock()
	}
	if release != nil || k != nil {
		l.forgotten = runtime.AddCleanup(l, func(release func()) {
			k.sweep()
			if release != nil {
				release()
			}
		}, release)
	}
	return mem.NewBuffer(&l.data, l)
}

// lease is the mem.BufferPool of one buffer: gRPC puts the buffer back when it has no more use for it.
type lease struct {
	data             []byte
	release, written func() // may be nil
	forgotten        runtime.Cleanup

	lender *Lender // may be nil
	// before are the pieces before data that gRPC has not written yet, and done is what it has written of the first of them, or else of data. The lender's lock guards both.
	before [][]byte
	done   int
	// holder is the connection that has some of it to write, and freed tells that gRPC has freed it meanwhile, so that the connection ends it. The lender's lock guards both.
	holder *gatherer
	freed  bool
	next   *lease // that is over as well; the connection's lock guards it
}

// Get implements mem.BufferPool. It is never called on a lease.
func (*lease) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

// Put implements mem.BufferPool. It waits for no connection: it is often the caller's goroutine that frees what it sent, when it has its answer or no more time.
func (l *lease) Put(*[]byte) {
	if holder := l.lender.forget(l); holder != nil {
		holder.tryFlush() // gRPC takes for written what the connection still holds
		return
	}
	l.end()
}

// end gives the memory back. Nobody reads it any more.
func (l *lease) end() {
	l.data = nil
	if l.release != nil || l.lender != nil {
		l.forgotten.Stop()
	}
	if l.release != nil {
		l.release()
	}
	if l.written != nil {
		l.written()
	}
	runtime.KeepAlive(l) // or the garbage collector could release it once more before Stop
}

// expect enters what gRPC writes next of a lease. The caller holds the lock.
func (k *Lender) expect(l *lease) {
	if rest := l.rest(); len(rest) > 0 {
		if k.next == nil {
			k.next = make(map[*byte]weak.Pointer[lease])
		}
		k.next[&rest[0]] = weak.Make(l)
	}
}

// rest gives what has not been written of the first piece that has not been written whole; nothing when there is none. The lender's lock is held.
func (l *lease) rest() []byte {
	for len(l.before) > 0 && l.done == len(l.before[0]) {
		l.before, l.done = l.before[1:], 0
	}
	if len(l.before) > 0 {
		return l.before[0][l.done:]
	}
	return l.data[l.done:]
}

// find gives the lease whose next bytes are p, which must not be empty, and takes it that the connection writes them and holds the lease until then; nil when there is none, or
// when another connection holds it.
func (k *Lender) find(p []byte, by *gatherer) *lease {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.next[&p[0]]
	if !ok {
		return nil
	}
	delete(k.next, &p[0])
	l := known.Value()
	if l == nil || len(p) > len(l.rest()) {
		return nil
	}
	l.done += len(p)
	k.expect(l)
	if l.holder == nil {
		l.holder = by
	}
	if l.holder != by { // of a message that another connection could not send
		return nil
	}
	return l
}

// written takes it that a connection holds nothing of a lease any more, and tells whether the lease is to be ended.
func (k *Lender) written(l *lease, by *gatherer) (over bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.holder != by { // it is there twice
		return false
	}
	l.holder = nil
	return l.freed
}

// forget forgets a lease that gRPC has freed, and gives the connection that still holds some of it and ends it; nil when none does. It does nothing on a nil Lender.
func (k *Lender) forget(l *lease) (holder *gatherer) {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if rest := l.rest(); len(rest) > 0 && k.next[&rest[0]] == weak.Make(l) {
		delete(k.next, &rest[0])
	}
	l.freed = true
	return l.holder
}

// sweep forgets the leases that nobody can reach.
func (k *Lender) sweep() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, l := range k.next {
		if l.Value() == nil {
			delete(k.next, at)
		}
	}
}
