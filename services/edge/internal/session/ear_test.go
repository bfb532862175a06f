package session

import (
	"context"
	"encoding/binary"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// speech is a catalog with a model that takes sound as Silero does.
func speech() uplink.Catalog {
	return uplink.Catalog{
		Known: true, Reachable: true,
		Models: []media.Model{{Name: "speech", InputID: 7, Rate: 1, Deadline: 250 * time.Millisecond, Result: "speech", Ready: true}},
		Inputs: []media.Input{{ID: 7, Form: media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64})}},
	}
}

// heard is a frame of sound that went up.
type heard struct {
	media.Frame
	samples []int16 // fresh ones
	context []int16
}

// ear is what a source of sound goes to in a test: a book, and an uplink that notes what it gets.
type ear struct {
	t        *testing.T
	outcomes chan media.Outcome
	live     fixedWants
	decoder  *fakeDecoder
	uplink   *fakeUplink
	book     *book

	mu    sync.Mutex
	heard map[uint32][]heard // by input
}

func newEar(t *testing.T, catalog uplink.Catalog) *ear {
	t.Helper()
	e := &ear{
		t: t, outcomes: make(chan media.Outcome, 65536), live: fixedWants{w: newWants(catalog.Models, catalog.Inputs)},
		decoder: &fakeDecoder{}, heard: make(map[uint32][]heard),
	}
	e.book = newBook("s", func(o media.Outcome) { e.outcomes <- o })
	e.uplink = &fakeUplink{handler: bookOnly{e.book}, answer: e.answer}
	return e
}

// listener makes a listener of a stream named voice.
func (e *ear) listener(only ...string) *listener {
	e.t.Helper()
	st, err := newStream("voice", content{kind: media.KindSound}, only, &e.live, e.book)
	if err != nil {
		e.t.Fatal(err)
	}
	return newListener(st, 1, e.decoder, e.uplink, slog.New(slog.DiscardHandler))
}

// microphone is a sound runner with everything around it replaced, in the time of a synctest bubble. Packets last 20 ms unless a test says
// something else.
type microphone struct {
	*ear
	packets chan peer.Packet
	stop    func()

	seq     uint16
	ts      uint32
	codec   media.Codec
	payload uint8 // its type
}

func (m *microphone) Packets() <-chan peer.Packet { return m.packets }
func (m *microphone) Patience() time.Duration     { return 60 * time.Millisecond }
func (m *microphone) RequestKeyFrame()            { m.t.Error("a key frame of sound was asked for") }

// newMicrophone starts a runner on a stream named voice. It must be stopped inside the bubble.
func newMicrophone(t *testing.T, catalog uplink.Catalog, bitrate int64) *microphone {
	t.Helper()
	m := &microphone{ear: newEar(t, catalog), packets: make(chan peer.Packet, 1024), seq: 65500, ts: 1<<32 - 96000, codec: media.Opus, payload: 111}
	runner := newSoundRunner(m, m.listener(), newBudget(bitrate, 1500), newReportBoard())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { runner.run(ctx) })
	running.Go(func() { m.book.run(ctx) })
	m.stop = func() { cancel(); running.Wait(); m.book.close() }
	return m
}

// answer notes a frame as a router would, and gives a result.
func (e *ear) answer(f media.Frame, d media.Due) (media.Outcome, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	form := e.live.w.inputs[f.InputID]
	if !form.Fits(f.Payload.Len()) {
		e.t.Errorf("a payload of %d bytes for %+v", f.Payload.Len(), form.Sound)
		return media.Outcome{}, false
	}
	payload := f.Payload.Whole()
	all := make([]int16, len(payload)/2)
	for i := range all {
		all[i] = int16(binary.LittleEndian.Uint16(payload[2*i:]))
	}
	if d.Model == f.Due[0].Model { // once, if several models share the input
		kept := f
		kept.Payload, kept.Release = nil, nil
		e.heard[f.InputID] = append(e.heard[f.InputID], heard{Frame: kept, context: all[:form.Sound.Context], samples: all[form.Sound.Context:]})
	}
	return media.Outcome{
		Stream: f.Stream, Sequence: f.Sequence, Model: d.Model, BatchSize: 1, Result: &media.Result{Speech: []media.Speech{{Probability: 0.5}}},
	}, true
}

// make makes the next packet, of 20 ms of a value.
func (m *microphone) make(value byte) peer.Packet {
	payload, ticks := []byte{31 << 3, value}, uint32(960)
	if m.codec != media.Opus {
		payload, ticks = slices.Repeat([]byte{value}, 160), 160
	}
	p := peer.Packet{
		Codec: m.codec, Arrival: time.Now(), ClockRate: 48000,
		RTP: &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: m.payload, SequenceNumber: m.seq, Timestamp: m.ts, SSRC: 5},
			Payload: payload,
		},
	}
	m.seq++
	m.ts += ticks
	return p
}

// say sends packets in real time.
func (m *microphone) say(packets int) {
	for range packets {
		m.packets <- m.make(1)
		<-time.After(20 * time.Millisecond)
	}
}

// settled gives what went up for an input, and how each unit of the stream ended.
func (e *ear) settled(input uint32) ([]heard, map[string]int) {
	e.t.Helper()
	<-time.After(500 * time.Millisecond)
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	ends := make(map[string]int)
	for len(e.outcomes) > 0 {
		switch o := <-e.outcomes; {
		case o.Drop != media.NotDropped:
			ends[o.Drop.String()]++
		case o.Error != media.NoError:
			ends[o.Error.String()]++
		default:
			ends["result"]++
		}
	}
	return e.heard[input], ends
}

// continuous checks that windows follow each other without a hole and gives the number of fresh samples, of which the first came at a timestamp
// of a clock, if there is one.
func continuous(t *testing.T, windows []heard, in media.SoundInput, timestamp uint32, clock int) int {
	t.Helper()
	var before []int16
	for i, w := range windows {
		if want := uint32(i * in.Hop); w.FirstSample != want {
			t.Fatalf("window %d begins at sample %d, want %d", i, w.FirstSample, want)
		}
		if i > 0 && w.Sequence <= windows[i-1].Sequence {
			t.Fatalf("window %d has sequence %d after %d", i, w.Sequence, windows[i-1].Sequence)
		}
		if want := timestamp + uint32(i*in.Hop*clock/in.Rate); clock > 0 && (w.RTP.Timestamp != want || w.RTP.SSRC != 5) {
			t.Fatalf("window %d has timestamp %d of source %d, want %d", i, w.RTP.Timestamp, w.RTP.SSRC, want)
		}
		all := append(slices.Repeat([]int16{0}, in.Context), before...)
		if want := all[len(all)-in.Context:]; !slices.Equal(w.context, want) {
			t.Fatalf("window %d begins with %v, but what came before it is %v", i, w.context, want)
		}
		before = append(before, w.samples[:in.Hop]...)
	}
	return len(before)
}
