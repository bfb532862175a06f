//go:build cgo && linux

// Package codec decodes and converts pictures and sound: a thin binding of libavcodec, libyuv, libopus and libswresample with the bookkeeping
// of streams in Go. It is the only cgo of the edge, and runs in the decoder process only, inside its sandbox.
package codec

/*
#cgo CFLAGS: -O2 -Wall -Wextra -Wno-unused-parameter -D_GNU_SOURCE
#cgo LDFLAGS: -lavcodec -lswresample -lavutil -lopus -lyuv -lm
#include "codec.h"
#include "jpeg.h"
#include "sound.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Engine answers decode requests. It owns C memory until Close, holds one decoder for each stream that it has met and not forgotten, and
// is not safe for concurrent use.
type Engine struct {
	layout    ipc.Layout
	memory    []byte
	maxPixels int
	streams   map[uint32]*stream
	sounds    map[soundKey]*sound
	// job is C memory, so that a call hands over one pointer and nothing has to be pinned.
	job      *C.slc_job
	soundJob *C.slc_sound_job
	scratch  *C.slc_scratch
}

// stream is the counterpart of the client's: both keep the list of awaited pictures by the same rules.
type stream struct {
	codec   media.Codec
	decoder *C.slc_stream
	units   uint64
	pending []pending
}

type pending struct {
	tag         uint64
	unit        uint64
	orientation uint8
	count       int
	targets     [ipc.MaxTargets]ipc.Target // by value, so that no unit costs memory
}

// New makes an engine over memory, which is laid out by layout and must stay mapped until Close. Pictures of more than maxPixels are
// refused. It opens every decoder once, so that whatever they set up, read or allocate for good happens before a sandbox stands.
func New(layout ipc.Layout, memory []byte, maxPixels int) (*Engine, error) {
	C.slc_prepare()
	e := &Engine{
		layout: layout, memory: memory, maxPixels: maxPixels, streams: make(map[uint32]*stream), sounds: make(map[soundKey]*sound),
		job: (*C.slc_job)(C.calloc(1, C.sizeof_slc_job)), soundJob: (*C.slc_sound_job)(C.calloc(1, C.sizeof_slc_sound_job)), scratch: C.slc_scratch_new(),
	}
	if e.job == nil || e.soundJob == nil || e.scratch == nil {
		e.Close()
		return nil, errors.New("no memory for the decoder")
	}
	for c := media.VP8; c <= media.H265; c++ {
		decoder := C.slc_open(C.int(c), C.int64_t(maxPixels))
		if decoder == nil {
			e.Close()
			return nil, fmt.Errorf("libavcodec has no decoder for %v", c)
		}
		C.slc_close(decoder)
	}
	if C.slc_jpeg_try(e.scratch) != 0 {
		e.Close()
		return nil, errors.New("libavcodec has no encoder for JPEG, or no memory for it")
	}
	if err := tryAllSounds(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Close frees everything.
func (e *Engine) Close() {
	for id := range e.streams {
		e.forgetPictures(id)
	}
	for key := range e.sounds {
		e.forgetSound(key)
	}
	C.free(unsafe.Pointer(e.job))
	C.free(unsafe.Pointer(e.soundJob))
	C.slc_scratch_free(e.scratch)
	e.job, e.soundJob, e.scratch = nil, nil, nil
}

// Forget frees a stream's decoders.
func (e *Engine) Forget(id uint32) {
	e.forgetPictures(id)
	for key := range e.sounds {
		if key.stream == id {
			e.forgetSound(key)
		}
	}
}

func (e *Engine) forgetPictures(id uint32) {
	if s := e.streams[id]; s != nil {
		C.slc_close(s.decoder)
		delete(e.streams, id)
	}
}

// Decode feeds the units in the input area to their stream and writes the pictures that come out to their slots. It fills in reply, whose
// Pictures it reuses. The request must have passed ipc.Request.Parse.
func (e *Engine) Decode(r *ipc.Request, reply *ipc.Reply) {
	*reply = ipc.Reply{Stream: r.Stream, Tag: r.Tag, Pictures: reply.Pictures[:0]}
	s := e.stream(r)
	if s == nil {
		reply.Status = ipc.NoMemory
		return
	}
	at := 0
	for _, a := range r.Ahead {
		s.units++
		e.fillAhead(at, a)
		if reply.Status = e.feed(s, reply); reply.Status != ipc.OK {
			s.settle(reply.Status)
			return
		}
		reply.Ahead++
		at += int(a.Size) + ipc.Padding
	}
	s.units++
	if len(r.Targets) > 0 {
		s.pending = append(s.pending, pending{tag: r.Tag, unit: s.units, orientation: r.Orientation})
		last := &s.pending[len(s.pending)-1]
		last.count = copy(last.targets[:], r.Targets)
	}
	e.fill(r, at)
	reply.Status = e.feed(s, reply)
	reply.Decode = time.Duration(e.job.decode_ns)
	s.settle(reply.Status)
}

// feed decodes the unit that the job is set for and reports the pictures that come out.
func (e *Engine) feed(s *stream, reply *ipc.Reply) ipc.Status {
	status := C.slc_decode(s.decoder, e.scratch, e.job)
	for status == C.SLC_PICTURE && len(reply.Pictures) < ipc.MaxPictures {
		if status = e.picture(s, reply); status != C.SLC_PICTURE {
			break
		}
		status = C.slc_next(s.decoder, e.job)
	}
	return statusOf(status)
}

// stream gives the request's stream with a decoder of its codec, nil without memory.
func (e *Engine) stream(r *ipc.Request) *stream {
	if s := e.streams[r.Stream]; s != nil && s.codec == r.Codec {
		return s
	}
	e.forgetPictures(r.Stream)
	decoder := C.slc_open(C.int(r.Codec), C.int64_t(e.maxPixels))
	if decoder == nil {
		return nil
	}
	s := &stream{codec: r.Codec, decoder: decoder}
	e.streams[r.Stream] = s
	return s
}

// fillAhead sets the job for a unit ahead that lies at an offset of the input area. Nobody waits for its picture, so it has no tag.
func (e *Engine) fillAhead(at int, a ipc.Ahead) {
	e.job.data = e.input(at)
	e.job.size = C.int32_t(a.Size)
	e.job.tag = -1
	e.job.key = flag(a.Key)
	e.job.orientation, e.job.target_count = 1, 0
	e.job.expected_width, e.job.expected_height = 0, 0
}

func (e *Engine) input(at int) *C.uint8_t {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(e.layout.Input(e.memory)[at:])))
}

// fill sets the job for the unit, which lies at an offset of the input area, with the targets placed as its header lets expect, so that C may
// convert without asking back.
func (e *Engine) fill(r *ipc.Request, at int) {
	e.job.data = e.input(at)
	e.job.size = C.int32_t(r.Size)
	e.job.tag = C.int64_t(r.Tag)
	e.job.key = flag(r.Key)
	e.job.orientation = C.int32_t(r.Orientation)
	e.job.expected_width, e.job.expected_height = C.int32_t(r.Width), C.int32_t(r.Height)
	if !e.place(r.Targets, int(r.Width), int(r.Height)) {
		e.job.expected_width, e.job.expected_height = 0, 0
	}
}

// place sets the job's targets for an upright picture of the given size. It is false if one cannot be made: the picture itself is too
// large, or would be when scaled, as a line of pixels that is to fill a square.
func (e *Engine) place(targets []ipc.Target, width, height int) bool {
	e.job.target_count = 0
	if width < 1 || height < 1 || width > ipc.MaxSide || height > ipc.MaxSide || width*height > e.maxPixels {
		return false
	}
	for i, t := range targets {
		p := media.Place(t.Input, width, height)
		if p.Width*p.Height > float64(max(e.maxPixels, t.Input.Width*t.Input.Height)) || max(p.Width, p.Height) > 2*ipc.MaxSide {
			return false
		}
		e.job.targets[i] = C.slc_target{
			width: C.int32_t(t.Input.Width), height: C.int32_t(t.Input.Height), bgr: flag(t.Input.Color == media.BGR),
			jpeg: flag(t.Input.Encoding == media.EncodedJPEG), room: C.int32_t(e.layout.Room(t.Input)),
			x: C.int32_t(p.X), y: C.int32_t(p.Y), scaled_width: C.int32_t(p.Width), scaled_height: C.int32_t(p.Height),
			payload: (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(e.layout.Slot(e.memory, int(t.Slot))))),
		}
	}
	e.job.target_count = C.int32_t(len(targets))
	return true
}

// picture reports the picture that came out, converted if anybody asked for it.
func (e *Engine) picture(s *stream, reply *ipc.Reply) C.int {
	width, height := int(e.job.picture_width), int(e.job.picture_height)
	if width > ipc.MaxSide || height > ipc.MaxSide || width*height > e.maxPixels {
		return C.SLC_UNSUPPORTED
	}
	entry, ok := s.claim(uint64(e.job.picture_tag))
	if !ok {
		return C.SLC_PICTURE // a reference, or one that nobody waits for any more
	}
	if entry.orientation >= 5 {
		width, height = height, width
	}
	status := C.int(C.SLC_PICTURE)
	if e.job.converted == 0 {
		e.job.orientation = C.int32_t(entry.orientation)
		if e.place(entry.targets[:entry.count], width, height) {
			status = C.slc_convert(s.decoder, e.scratch, e.job)
		} else {
			e.job.done, e.job.convert_ns = 0, 0
		}
	}
	p := ipc.Picture{
		Tag: entry.tag, Width: uint16(width), Height: uint16(height), Done: uint16(e.job.done), Convert: time.Duration(e.job.convert_ns),
	}
	for i := range entry.count {
		p.Sizes[i] = uint32(e.job.targets[i].size)
	}
	reply.Pictures = append(reply.Pictures, p)
	return status
}

func flag(set bool) C.int32_t {
	if set {
		return 1
	}
	return 0
}

// claim takes the entry of tag off the list.
func (s *stream) claim(tag uint64) (pending, bool) {
	for i, p := range s.pending {
		if p.tag == tag {
			s.pending = append(s.pending[:i], s.pending[i+1:]...)
			return p, true
		}
	}
	return pending{}, false
}

// settle ends the wait for pictures that will not come.
func (s *stream) settle(status ipc.Status) {
	if status != ipc.OK {
		C.slc_flush(s.decoder)
		s.pending = s.pending[:0]
		return
	}
	for len(s.pending) > 0 && ipc.Expired(s.codec, s.pending[0].unit, s.units) {
		s.pending = append(s.pending[:0], s.pending[1:]...)
	}
}

func statusOf(status C.int) ipc.Status {
	switch status {
	case C.SLC_NONE, C.SLC_PICTURE:
		return ipc.OK
	case C.SLC_UNSUPPORTED:
		return ipc.Unsupported
	case C.SLC_NO_MEMORY:
		return ipc.NoMemory
	default:
		return ipc.Broken
	}
}
