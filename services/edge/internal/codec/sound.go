//go:build cgo && linux

package codec

/*
#include "sound.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// soundKey names a decoder of sound: a stream may be wanted at several rates.
type soundKey struct{ stream, rate uint32 }

type sound struct {
	source  soundSource
	decoder *C.slc_sound
}

// soundSource is what a decoder of sound is made for; when it changes, the decoder is made anew.
type soundSource struct {
	codec    media.Codec
	rate     uint32
	channels uint8
}

// tryAllSounds opens a decoder of every kind, and the resampler, at rates for which its filter is soon made.
func tryAllSounds() error {
	for c := media.Opus; c <= media.PCMF32; c++ {
		decoder := C.slc_sound_open(C.int(c), 8000, 16000, 1)
		if decoder == nil {
			return fmt.Errorf("there is no decoder for %v, or no memory for it", c)
		}
		C.slc_sound_close(decoder)
	}
	return nil
}

func (e *Engine) forgetSound(key soundKey) {
	C.slc_sound_close(e.sounds[key].decoder)
	delete(e.sounds, key)
}

// Sound takes a step of a stream's sound and writes its samples to the memory's sound area. It fills in reply. The request must have
// passed ipc.SoundRequest.Parse.
func (e *Engine) Sound(r *ipc.SoundRequest, reply *ipc.SoundReply) {
	*reply = ipc.SoundReply{Stream: r.Stream, Samples: r.Samples}
	s := e.sound(r)
	if s == nil {
		reply.Status = ipc.NoMemory
		return
	}
	*e.soundJob = C.slc_sound_job{
		op:   soundOp(r.Op),
		data: (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(e.layout.Input(e.memory)))), size: C.int32_t(r.Size),
		samples: C.int32_t(r.Samples), out: (*C.int16_t)(unsafe.Pointer(unsafe.SliceData(e.layout.Sound(e.memory)))),
	}
	reply.Status = statusOf(C.slc_sound_run(s.decoder, e.scratch, e.soundJob))
	reply.Decode = time.Duration(e.soundJob.decode_ns)
}

// sound gives the request's decoder, nil without memory.
func (e *Engine) sound(r *ipc.SoundRequest) *sound {
	key, source := soundKey{r.Stream, r.Rate}, soundSource{r.Codec, r.SourceRate, r.Channels}
	if s := e.sounds[key]; s != nil {
		if s.source == source {
			return s
		}
		e.forgetSound(key)
	}
	decoder := C.slc_sound_open(C.int(r.Codec), C.int(r.Rate), C.int(r.SourceRate), C.int(r.Channels))
	if decoder == nil {
		return nil
	}
	s := &sound{source: source, decoder: decoder}
	e.sounds[key] = s
	return s
}

func soundOp(op ipc.Op) C.int32_t {
	switch op {
	case ipc.RecoverSound:
		return C.SLC_SOUND_RECOVER
	case ipc.ConcealSound:
		return C.SLC_SOUND_CONCEAL
	default:
		return C.SLC_SOUND_DECODE
	}
}
