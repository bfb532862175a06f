package backend

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

// workspace is the memory of one batch on its way in. It is used again and again. keep may be called as long as somebody uses it; leave is safe for concurrent use.
type workspace struct {
	home  *sync.Pool
	users atomic.Int32 // the batch, and what its driver keeps
	// inputs are the input tensor, the states and the constants, in this order. Their shapes are the workspace's own; so is the data but for that of constants.
	inputs []media.RawTensor
	// pieces are the input tensor's bytes where they were not gathered, and owners whose they are. held is true when the owners hold them until the last user has left.
	pieces media.Payload
	owners []Holder
	held   bool
}

// leastScattered is the size of a payload from which it is sent from where it lies: what is smaller is copied as fast.
const leastScattered = 64 << 10

// keep adds a user, who is gone when the function that it gives is called. It is called by one goroutine, as long as the batch uses the workspace itself.
func (w *workspace) keep() (done func()) {
	w.users.Add(1)
	if !w.held {
		w.held = true
		for _, o := range w.owners {
			o.Hold()
		}
	}
	return w.leave
}

// leave ends a user's use. After the last one the workspace is free for another batch.
func (w *workspace) leave() {
	if w.users.Add(-1) > 0 {
		return
	}
	if w.held {
		for _, o := range w.owners {
			o.Release()
		}
	}
	w.held = false
	clear(w.owners)
	clear(w.pieces)
	w.owners, w.pieces = w.owners[:0], w.pieces[:0]
	w.home.Put(w)
}

// scatter takes the payloads as they are for the input tensor's bytes, and tells whether it could.
func (w *workspace) scatter(packer *tensor.Packer, frames []Frame) bool {
	if !packer.Verbatim() || packer.FrameBytes(nil) < leastScattered || slices.ContainsFunc(frames, func(f Frame) bool { return f.Holder == nil || packer.Check(f.Payload) != nil }) {
		return false
	}
	for _, f := range frames {
		w.pieces = append(w.pieces, f.Payload...)
		w.owners = append(w.owners, f.Holder)
	}
	return true
}

// gather makes a batch of frames, from the payloads' own memory where a driver that scatters can take them so. The tensors are valid until the last user has left.
func (w *workspace) gather(packer *tensor.Packer, t *terms, frames []Frame, gap int, scatters bool) ([]media.RawTensor, error) {
	w.inputs = slices.Grow(w.inputs[:0], 1+len(t.states)+len(t.constants))[:1+len(t.states)+len(t.constants)]
	in := &w.inputs[0]
	in.Name, in.Datatype = t.input.Name, t.input.Datatype
	in.Shape = append(append(in.Shape[:0], len(frames)), t.input.Shape[1:]...)
	in.Data = in.Data[:0]
	if !scatters || !w.scatter(packer, frames) {
		if err := w.copy(packer, frames); err != nil {
			return nil, err
		}
	}
	for k := range t.states {
		s, in := &t.states[k], &w.inputs[1+k]
		in.Name, in.Datatype, in.Shape = s.spec.Name, s.spec.Datatype, s.shape(in.Shape, len(frames))
		size := s.blocks * s.slice * len(frames)
		in.Data = slices.Grow(in.Data[:0], size)[:size]
		for i, f := range frames {
			part := f.State.part(k, f.FirstSample, gap)
			if len(part) != s.blocks*s.slice {
				part = nil // of another version of the model, on another target
			}
			s.gather(in.Data, part, i, len(frames))
		}
	}
	for k := range t.constants {
		in := &w.inputs[1+len(t.states)+k]
		*in = t.constants[k].tensor(in.Shape, len(frames))
	}
	return w.inputs, nil
}

// copy fills the input tensor.
func (w *workspace) copy(packer *tensor.Packer, frames []Frame) (err error) {
	in, size := &w.inputs[0], 0
	for _, f := range frames {
		size += packer.FrameBytes(f.Payload)
	}
	in.Data = slices.Grow(in.Data, size)
	for i, f := range frames {
		if in.Data, err = packer.Pack(in.Data, f.Payload); err != nil {
			return fmt.Errorf("frame %d of the batch: %w", i, err)
		}
	}
	return nil
}

// remember gives the streams the states that a batch left: the last of its checked outputs.
func remember(t *terms, outputs []media.RawTensor, frames []Frame, hop int) {
	for i, f := range frames {
		if f.State == nil {
			continue
		}
		if len(f.State.tensors) != len(t.states) {
			f.State.tensors = make([][]byte, len(t.states))
		}
		for k := range t.states {
			f.State.tensors[k] = t.states[k].scatter(f.State.tensors[k], outputs[t.read+k].Data, i, len(frames))
		}
		f.State.next = f.FirstSample + uint32(hop)
	}
}
