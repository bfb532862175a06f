package ipc

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

var testLayout = Layout{Unit: 1000, Slots: 4, SlotBytes: 640 * 480 * 3}

func goodRequest() Request {
	return Request{
		Op: Decode, Codec: media.H264, Stream: 7, Tag: 1 << 60, Size: 1000, Orientation: 6, Key: true, Width: 1280, Height: 720,
		Ahead: []Ahead{{Size: 7}, {Size: MaxAheadBytes - 2*Padding - 7, Key: true}},
		Targets: []Target{
			{Input: media.PictureInput{Width: 320, Height: 256, Fit: media.Letterbox, Color: media.RGB}, Slot: 3},
			{Input: media.PictureInput{Width: 640, Height: 480, Fit: media.Crop, Color: media.BGR}, Slot: 0},
			{Input: media.PictureInput{Width: MaxSide, Height: MaxSide, Encoding: media.EncodedJPEG}, Slot: 1},
		},
	}
}

func goodReply() Reply {
	return Reply{
		Status: OK, Ahead: 2, Stream: 7, Tag: 1 << 60, Decode: 1500 * time.Microsecond,
		Pictures: []Picture{
			{Tag: 5, Width: 1280, Height: 720, Done: 0x8003, Sizes: [MaxTargets]uint32{0: 320 * 256 * 3, 1: 1<<32 - 1, 15: 7}, Convert: 200 * time.Microsecond},
			{Tag: 6, Width: 1, Height: MaxSide},
		},
	}
}

func TestMessagesSurviveTheWay(t *testing.T) {
	t.Parallel()
	request, forget := goodRequest(), Request{Op: Forget, Stream: 9}
	for _, want := range []Request{request, forget} {
		var got Request
		if err := got.Parse(want.Append(nil), testLayout); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("request %+v came as %+v, %v", want, got, err)
		}
	}
	reply := goodReply()
	var got Reply
	if err := got.Parse(reply.Append(nil)); err != nil || !reflect.DeepEqual(got, reply) {
		t.Errorf("reply %+v came as %+v, %v", reply, got, err)
	}
	for _, want := range []Hello{{}, {Landlock: 7, Seccomp: true}} {
		var got Hello
		if err := got.Parse(want.Append(nil)); err != nil || got != want {
			t.Errorf("hello %+v came as %+v, %v", want, got, err)
		}
	}
}

func TestTheLongestMessagesFit(t *testing.T) {
	t.Parallel()
	request, reply := goodRequest(), goodReply()
	request.Ahead = make([]Ahead, MaxAhead)
	for len(request.Targets) < MaxTargets {
		request.Targets = append(request.Targets, request.Targets[0])
	}
	for len(reply.Pictures) < MaxPictures {
		reply.Pictures = append(reply.Pictures, reply.Pictures[0])
	}
	for i := range reply.Pictures {
		reply.Pictures[i].Done = 1<<MaxTargets - 1
	}
	if n := len(request.Append(nil)); n > MaxMessage {
		t.Errorf("a request takes %d bytes, buffers have %d", n, MaxMessage)
	}
	if n := len(reply.Append(nil)); n > MaxMessage {
		t.Errorf("a reply takes %d bytes, buffers have %d", n, MaxMessage)
	}
	request.Targets = append(request.Targets, request.Targets[0])
	if err := new(Request).Parse(request.Append(nil), testLayout); err == nil {
		t.Error("a request with too many targets was accepted")
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Request){
		"unknown operation":   func(r *Request) { r.Op = ConcealSound + 1 },
		"unit too large":      func(r *Request) { r.Size = 1001 },
		"no orientation":      func(r *Request) { r.Orientation = 0 },
		"unknown orientation": func(r *Request) { r.Orientation = 9 },
		"unknown slot":        func(r *Request) { r.Targets[1].Slot = 4 },
		"payload too large":   func(r *Request) { r.Targets[0].Input.Width, r.Targets[0].Input.Height = 641, 480 },
		"no width":            func(r *Request) { r.Targets[0].Input.Width = 0 },
		"too wide":            func(r *Request) { r.Targets[0].Input.Width, r.Targets[0].Input.Height = MaxSide+1, 1 },
		"unknown fit":         func(r *Request) { r.Targets[0].Input.Fit = 4 },
		"unknown order":       func(r *Request) { r.Targets[0].Input.Color = 0 },
		"unknown encoding":    func(r *Request) { r.Targets[2].Input.Encoding = 2 },
		"too many ahead":      func(r *Request) { r.Ahead = make([]Ahead, MaxAhead+1) },
		"too much ahead":      func(r *Request) { r.Ahead[0].Size++ },
		"far too much ahead":  func(r *Request) { r.Ahead[0].Size = 1<<32 - 1 },
		"a fit of a file":     func(r *Request) { r.Targets[2].Input.Fit = media.Crop },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := goodRequest()
			change(&r)
			if err := new(Request).Parse(r.Append(nil), testLayout); err == nil {
				t.Errorf("%+v was accepted", r)
			}
		})
	}
}

func TestRepliesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Reply){
		"no status":      func(r *Reply) { r.Status = 0 },
		"unknown status": func(r *Reply) { r.Status = NoMemory + 1 },
		"no width":       func(r *Reply) { r.Pictures[0].Width = 0 },
		"no height":      func(r *Reply) { r.Pictures[1].Height = 0 },
		"too wide":       func(r *Reply) { r.Pictures[1].Width = MaxSide + 1 },
		"too many":       func(r *Reply) { r.Pictures = make([]Picture, MaxPictures+1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := goodReply()
			change(&r)
			if err := new(Reply).Parse(r.Append(nil)); err == nil {
				t.Errorf("%+v was accepted", r)
			}
		})
	}
	whole := (&Reply{Status: OK, Pictures: goodReply().Pictures}).Append(nil)
	for n := range whole {
		if err := new(Reply).Parse(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(whole))
		}
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	memory := make([]byte, testLayout.Size())
	areas := [][]byte{testLayout.Input(memory), testLayout.Sound(memory)}
	for i := range testLayout.Slots {
		areas = append(areas, testLayout.Slot(memory, i))
	}
	for i, a := range areas {
		if cap(a) != len(a) {
			t.Errorf("area %d can be grown into the next", i)
		}
		for _, b := range a {
			if b != 0 {
				t.Fatalf("area %d overlaps an earlier one", i)
			}
		}
		for j := range a {
			a[j] = byte(i + 1)
		}
	}
	for _, l := range []Layout{{}, {Unit: 1, Slots: 1}, {Unit: -1, Slots: 1, SlotBytes: 1}, {Unit: 1, Slots: 1024, SlotBytes: MaxMemory}, {Unit: 1 << 62, Slots: 1, SlotBytes: 1}} {
		if err := l.Check(); err == nil {
			t.Errorf("%+v was accepted", l)
		}
	}
	if err := testLayout.Check(); err != nil {
		t.Error(err)
	}
}

func TestSandboxWords(t *testing.T) {
	t.Parallel()
	for _, want := range []Sandbox{Required, BestEffort, Off} {
		var got Sandbox
		text, _ := want.MarshalText()
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("%s came as %v, %v", text, got, err)
		}
	}
	if err := new(Sandbox).UnmarshalText([]byte("yes")); err == nil {
		t.Error("an unknown word was accepted")
	}
}

// FuzzRequest parses what the decoder process reads. Whatever passes is within the layout.
func FuzzRequest(f *testing.F) {
	good, forget := goodRequest(), Request{Op: Forget}
	f.Add(good.Append(nil))
	f.Add(forget.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		var r Request
		if r.Parse(message, testLayout) != nil || r.Op != Decode {
			return
		}
		if int(r.Size) > testLayout.Unit || len(r.Targets) > MaxTargets {
			t.Errorf("%+v passed", r)
		}
		for _, target := range r.Targets {
			if int(target.Slot) >= testLayout.Slots || testLayout.Room(target.Input) > testLayout.SlotBytes {
				t.Errorf("%+v passed", target)
			}
		}
	})
}

// FuzzReply parses what the edge reads from a process that untrusted bytes may have taken over.
func FuzzReply(f *testing.F) {
	good := goodReply()
	f.Add(good.Append(nil))
	f.Add(bytes.Repeat([]byte{0xff}, MaxMessage))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		var r Reply
		if r.Parse(message) != nil {
			return
		}
		if len(r.Pictures) > MaxPictures || r.Status < OK || r.Status > NoMemory || r.Decode < 0 {
			t.Errorf("%+v passed", r)
		}
		for _, p := range r.Pictures {
			if p.Width < 1 || p.Height < 1 || p.Width > MaxSide || p.Height > MaxSide || p.Convert < 0 {
				t.Errorf("%+v passed", p)
			}
		}
	})
}

// FuzzHello parses the first message.
func FuzzHello(f *testing.F) {
	f.Add(Hello{Landlock: 7, Seccomp: true}.Append(nil))
	f.Add([]byte("SLCD"))
	f.Fuzz(func(_ *testing.T, message []byte) { _ = new(Hello).Parse(message) })
}
