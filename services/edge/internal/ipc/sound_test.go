package ipc

import (
	"bytes"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

func goodSound() SoundRequest {
	return SoundRequest{Op: DecodeSound, Codec: media.PCMS16, Stream: 7, Size: 1000, Rate: 16000, Samples: 320, SourceRate: 44100, Channels: 8}
}

func TestSoundMessagesSurviveTheWay(t *testing.T) {
	t.Parallel()
	for _, want := range []SoundRequest{
		goodSound(),
		{Op: RecoverSound, Codec: media.Opus, Stream: 1 << 31, Size: 60, Rate: 48000, Samples: 48000},
		{Op: ConcealSound, Codec: media.G722, Rate: 4000, Samples: 1},
	} {
		message := want.Append(nil)
		var got SoundRequest
		if err := got.Parse(message, testLayout); err != nil || got != want {
			t.Errorf("request %+v came as %+v, %v", want, got, err)
		}
		if op := OpOf(message); op != want.Op || !op.Sound() {
			t.Errorf("the operation of %+v came as %d", want, op)
		}
		if err := new(Request).Parse(message, testLayout); err == nil {
			t.Errorf("%+v was taken for a request of pictures", want)
		}
	}
	want := SoundReply{Status: Broken, Stream: 7, Samples: 320, Decode: time.Millisecond}
	var got SoundReply
	if err := got.Parse(want.Append(nil)); err != nil || got != want {
		t.Errorf("reply %+v came as %+v, %v", want, got, err)
	}
	picture, forget := goodRequest(), Request{Op: Forget}
	for _, message := range [][]byte{picture.Append(nil), forget.Append(nil), nil} {
		if OpOf(message).Sound() {
			t.Errorf("%x was taken for a request of sound", message)
		}
	}
}

func TestSoundRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*SoundRequest){
		"operation of pictures":     func(r *SoundRequest) { r.Op = Decode },
		"unknown operation":         func(r *SoundRequest) { r.Op = ConcealSound + 1 },
		"picture":                   func(r *SoundRequest) { r.Codec = media.VP8 },
		"neither picture nor sound": func(r *SoundRequest) { r.Codec = media.Raw },
		"larger than the area":      func(r *SoundRequest) { r.Size = 1001 },
		"more than a second":        func(r *SoundRequest) { r.SourceRate, r.Channels, r.Size = 4000, 1, 8002 },
		"rate too low":              func(r *SoundRequest) { r.Rate = media.MinSoundRate - 1 },
		"rate too high":             func(r *SoundRequest) { r.Rate = media.MaxSoundRate + 1 },
		"no samples":                func(r *SoundRequest) { r.Samples = 0 },
		"too many samples":          func(r *SoundRequest) { r.Samples = r.Rate + 1 },
		"source rate too low":       func(r *SoundRequest) { r.SourceRate = MinSourceRate - 1 },
		"source rate too high":      func(r *SoundRequest) { r.SourceRate = MaxSourceRate + 1 },
		"no channel":                func(r *SoundRequest) { r.Channels = 0 },
		"too many channels":         func(r *SoundRequest) { r.Channels = MaxChannels + 1 },
		"Opus of a rate":            func(r *SoundRequest) { r.Codec, r.Channels = media.Opus, 0 },
		"Opus of channels":          func(r *SoundRequest) { r.Codec, r.SourceRate = media.Opus, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := goodSound()
			change(&r)
			layout := testLayout
			if name == "more than a second" {
				layout.Unit = 1 << 20
			}
			if err := new(SoundRequest).Parse(r.Append(nil), layout); err == nil {
				t.Errorf("%+v was accepted", r)
			}
		})
	}
	request, reply := goodSound(), SoundReply{Status: OK}
	whole, answer := request.Append(nil), reply.Append(nil)
	for n := range whole {
		if err := new(SoundRequest).Parse(whole[:n], testLayout); err == nil {
			t.Errorf("the first %d of %d bytes of a request were accepted", n, len(whole))
		}
	}
	for n := range answer {
		if err := new(SoundReply).Parse(answer[:n]); err == nil {
			t.Errorf("the first %d of %d bytes of a reply were accepted", n, len(answer))
		}
	}
	for _, status := range []Status{0, NoMemory + 1} {
		reply.Status = status
		if err := new(SoundReply).Parse(reply.Append(nil)); err == nil {
			t.Errorf("the status %d was accepted", status)
		}
	}
}

// FuzzSound parses both messages. Whatever passes is within the layout, and is written again as it came.
func FuzzSound(f *testing.F) {
	request, reply := goodSound(), SoundReply{Status: OK, Stream: 7, Samples: 320}
	f.Add(request.Append(nil))
	f.Add(reply.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		var r SoundRequest
		if r.Parse(message, testLayout) == nil {
			raw := r.SourceRate > 0
			if int(r.Size) > testLayout.Unit || r.Samples < 1 || r.Samples > MaxSamples || raw != (r.Channels > 0) || r.Codec.Kind() != media.KindSound {
				t.Errorf("%+v passed", r)
			}
		}
		var a SoundReply
		if a.Parse(message) == nil && !bytes.Equal(a.Append(nil)[4:], message[4:]) {
			t.Errorf("%x passed as %+v", message, a)
		}
	})
}
