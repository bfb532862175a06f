package session

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
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

// microphone is a sound runner with everything around it replaced, in the time of a synctest bubble. Packets last 20 ms unless a test says
// something else.
type microphone struct {
	t        *testing.T
	packets  chan peer.Packet
	outcomes chan media.Outcome
	live     fixedWants
	decoder  *fakeDecoder
	uplink   *fakeUplink
	book     *book
	stop     func()

	seq   uint16
	ts    uint32
	type_ struct {
		codec   media.Codec
		payload uint8
	}
	mu    sync.Mutex
	heard map[uint32][]heard // by input
}

func (m *microphone) Packets() <-chan peer.Packet { return m.packets }
func (m *microphone) Patience() time.Duration     { return 60 * time.Millisecond }
func (m *microphone) RequestKeyFrame()            { m.t.Error("a key frame of sound was asked for") }

// newMicrophone starts a runner on a stream named voice. It must be stopped inside the bubble.
func newMicrophone(t *testing.T, catalog uplink.Catalog, bitrate int64) *microphone {
	t.Helper()
	m := &microphone{
		t: t, packets: make(chan peer.Packet, 1024), outcomes: make(chan media.Outcome, 65536),
		live: fixedWants{newWants(catalog.Models, catalog.Inputs)}, decoder: &fakeDecoder{}, heard: make(map[uint32][]heard),
		seq: 65500, ts: 1<<32 - 96000,
	}
	m.play(media.Opus, 111)
	m.book = newBook("s", func(o media.Outcome) { m.outcomes <- o })
	m.uplink = &fakeUplink{handler: bookOnly{m.book}, answer: m.answer}
	st, err := newStream("voice", content{kind: media.KindSound}, nil, &m.live, m.book)
	if err != nil {
		t.Fatal(err)
	}
	runner := newSoundRunner(m, newListener(st, 1, m.decoder, m.uplink, slog.New(slog.DiscardHandler)), newBudget(bitrate, 1500), newReportBoard())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { runner.run(ctx) })
	running.Go(func() { m.book.run(ctx) })
	m.stop = func() { cancel(); running.Wait(); m.book.close() }
	return m
}

// answer notes a frame as a router would, and gives a result.
func (m *microphone) answer(f media.Frame, d media.Due) (media.Outcome, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	form := m.live.w.inputs[f.InputID]
	if !form.Fits(len(f.Payload)) {
		m.t.Errorf("a payload of %d bytes for %+v", len(f.Payload), form.Sound)
		return media.Outcome{}, false
	}
	all := make([]int16, len(f.Payload)/2)
	for i := range all {
		all[i] = int16(binary.LittleEndian.Uint16(f.Payload[2*i:]))
	}
	if d.Model == f.Due[0].Model { // once, if several models share the input
		kept := f
		kept.Payload, kept.Release = nil, nil
		m.heard[f.InputID] = append(m.heard[f.InputID], heard{Frame: kept, context: all[:form.Sound.Context], samples: all[form.Sound.Context:]})
	}
	return media.Outcome{
		Stream: f.Stream, Sequence: f.Sequence, Model: d.Model, BatchSize: 1, Result: &media.Result{Speech: []media.Speech{{Probability: 0.5}}},
	}, true
}

func (m *microphone) play(codec media.Codec, payloadType uint8) {
	m.type_.codec, m.type_.payload = codec, payloadType
}

// make makes the next packet, of 20 ms of a value.
func (m *microphone) make(value byte) peer.Packet {
	payload, ticks := []byte{31 << 3, value}, uint32(960)
	if m.type_.codec != media.Opus {
		payload, ticks = slices.Repeat([]byte{value}, 160), 160
	}
	p := peer.Packet{
		Codec: m.type_.codec, Arrival: time.Now(), ClockRate: 48000,
		RTP: &rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: m.type_.payload, SequenceNumber: m.seq, Timestamp: m.ts, SSRC: 5},
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
func (m *microphone) settled(input uint32) ([]heard, map[string]int) {
	m.t.Helper()
	<-time.After(500 * time.Millisecond)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	ends := make(map[string]int)
	for len(m.outcomes) > 0 {
		switch o := <-m.outcomes; {
		case o.Drop != media.NotDropped:
			ends[o.Drop.String()]++
		case o.Error != media.NoError:
			ends[o.Error.String()]++
		default:
			ends["result"]++
		}
	}
	return m.heard[input], ends
}

// continuous checks that windows follow each other without a hole and gives the number of fresh samples, of which the first came at a timestamp.
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
		if want := timestamp + uint32(i*in.Hop*clock/in.Rate); w.RTP.Timestamp != want || w.RTP.SSRC != 5 {
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

func TestSoundGoesUpInWindows(t *testing.T) {
	for name, codec := range map[string]media.Codec{"Opus": media.Opus, "PCMU": media.PCMU, "PCMA": media.PCMA, "G722": media.G722} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMicrophone(t, speech(), 1e9)
				m.play(codec, 9)
				first, clock := m.ts, soundClock(codec)
				began := time.Now()
				m.say(500)
				windows, ends := m.settled(7)
				m.stop()
				in := m.live.w.inputs[7].Sound
				if n := continuous(t, windows, in, first, clock); n != 500*320/512*512 || ends["result"] != n/512 || len(ends) != 1 {
					t.Errorf("%d samples of %d, %v", n, 500*320, ends)
				}
				for i, w := range windows {
					// The packet that brought a window's first sample came in the packet time before it.
					at := began.Add(time.Duration(i*512/320) * 20 * time.Millisecond)
					if got := w.Due[0].Deadline.Add(-250 * time.Millisecond); got != at {
						t.Errorf("window %d arrived %v after its first packet", i, got.Sub(at))
					}
					if i > 0 && w.Captured.Sub(windows[i-1].Captured) != 32*time.Millisecond {
						t.Errorf("window %d was captured %v after the one before", i, w.Captured.Sub(windows[i-1].Captured))
					}
				}
				if n := len(m.decoder.sounds); n != 500 {
					t.Errorf("500 packets took %d calls", n)
				}
			})
		})
	}
}

func TestSoundSharesItsDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog := speech()
		wide := media.SoundInput{Rate: 16000, Window: 1600, Hop: 400}
		catalog.Inputs = append(catalog.Inputs, media.Input{ID: 8, Form: media.SoundForm(wide)},
			media.Input{ID: 9, Form: media.SoundForm(media.SoundInput{Rate: 44100, Window: 441, Hop: 441, Context: 3})})
		for name, input := range map[string]uint32{"speech too": 7, "wide": 8, "music": 9} {
			catalog.Models = append(catalog.Models, media.Model{Name: name, InputID: input, Deadline: time.Second, Ready: true})
		}
		m := newMicrophone(t, catalog, 1e9)
		first := m.ts
		m.say(100)
		windows, ends := m.settled(7)
		m.stop()
		if n := len(m.decoder.sounds); n != 200 {
			t.Errorf("100 packets for two rates took %d calls", n)
		}
		a := continuous(t, windows, m.live.w.inputs[7].Sound, first, 48000)
		b := continuous(t, m.heard[8], wide, first, 48000)
		c := len(m.heard[9])
		if a != 62*512 || b != (32000-1600)/400*400+400 || c != 200 || len(windows[0].Due) != 2 {
			t.Errorf("%d and %d samples, %d windows of 10 ms, the first due for %v", a, b, c, windows[0].Due)
		}
		if ends["result"] != 2*62+b/400+c {
			t.Errorf("outcomes %v", ends)
		}
		if n := m.book.counts()[0].Received; int(n) != 62+b/400+c {
			t.Errorf("%d units", n)
		}
	})
}

func TestSoundThatNobodyWantsIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, faces(), 1e9)
		m.say(50)
		synctest.Wait()
		if n := m.book.counts()[0].NotDue; n != 50 || len(m.decoder.sounds) != 0 {
			t.Errorf("%d packets counted, %d decoded", n, len(m.decoder.sounds))
		}
		m.stop()
	})
}

func TestSoundFollowsWhatModelsWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, faces(), 1e9)
		m.say(10)
		synctest.Wait()
		now := speech()
		m.live.w = newWants(now.Models, now.Inputs)
		m.say(16) // ten windows
		synctest.Wait()
		m.live.w = newWants(faces().Models, faces().Inputs)
		m.say(10)
		synctest.Wait()
		m.live.w = newWants(now.Models, now.Inputs)
		m.say(16)
		windows, ends := m.settled(7)
		m.stop()
		if len(windows) != 20 || ends["result"] != 20 || windows[9].FirstSample != 9*512 {
			t.Fatalf("%d windows, %v", len(windows), ends)
		}
		if next := windows[10]; next.FirstSample == 10*512 || next.FirstSample%16000 != 0 || slices.Max(next.context) != 0 {
			t.Errorf("after a pause windows go on at sample %d with %v", next.FirstSample, next.context)
		}
	})
}

func TestSoundEndsAsItShould(t *testing.T) {
	refuse := func(e error) func(decoder.SoundRequest, []int16) ([]int16, error) {
		return func(r decoder.SoundRequest, dst []int16) ([]int16, error) {
			if r.Data[1] == 9 {
				return dst, e
			}
			return append(dst, make([]int16, r.Samples)...), nil
		}
	}
	for _, c := range []struct {
		name    string
		bitrate int64
		disturb func(m *microphone)
		want    map[string]int // of 25 windows; the disturbance begins after five
	}{
		{"a packet that the decoder refuses", 1e9, func(m *microphone) {
			m.decoder.listen = refuse(&decoder.Error{Code: media.DecoderError, Err: errors.New("test")})
			m.packets <- m.make(9)
		}, map[string]int{"result": 24, "DECODER": 1}},
		{"a decoder out of memory", 1e9, func(m *microphone) {
			m.decoder.listen = refuse(&decoder.Error{Drop: media.Overloaded, Err: errors.New("test")})
			m.packets <- m.make(9)
		}, map[string]int{"result": 24, "OVERLOADED": 1}},
		{"a decoder with words of its own", 1e9, func(m *microphone) {
			m.decoder.listen = refuse(errors.New("test"))
			m.packets <- m.make(9)
		}, map[string]int{"result": 24, "INTERNAL": 1}},
		{"a packet that no encoder made", 1e9, func(m *microphone) {
			p := m.make(9)
			p.RTP.Payload = []byte{31<<3 | 3, 0}
			m.packets <- p
		}, map[string]int{"result": 24, "DECODER": 1}},
		{"no router", 1e9, func(m *microphone) {
			m.uplink.mu.Lock()
			m.uplink.lost = true
			m.uplink.mu.Unlock()
			m.packets <- m.make(9)
			synctest.Wait()
			m.uplink.mu.Lock()
			m.uplink.lost = false
			m.uplink.mu.Unlock()
		}, map[string]int{"result": 24, "NO_ROUTER": 1}},
		{"packets that come too late", 1e9, func(m *microphone) {
			p := m.make(9)
			p.Arrival = p.Arrival.Add(-300 * time.Millisecond)
			m.packets <- p
		}, map[string]int{"result": 24, "EXPIRED": 1}},
		{"telephone keys", 1e9, func(m *microphone) {
			p := m.make(9)
			p.RTP.PayloadType, p.Codec = 126, media.CodecUnknown
			m.packets <- p
		}, map[string]int{"result": 25}},
		{"more than the bitrate allows", 1e6, func(m *microphone) {
			p := m.make(9)
			p.RTP.Payload = append([]byte{31 << 3}, make([]byte, 1e6)...)
			m.packets <- p
		}, map[string]int{"result": 24, "RATE_LIMITED": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMicrophone(t, speech(), c.bitrate)
				first := m.ts
				m.say(8) // five windows
				synctest.Wait()
				c.disturb(m)
				<-time.After(20 * time.Millisecond)
				m.say(31)
				windows, ends := m.settled(7)
				m.stop()
				if len(ends) != len(c.want) {
					t.Errorf("windows ended as %v, want %v", ends, c.want)
				}
				for end, n := range c.want {
					if ends[end] != n {
						t.Errorf("windows ended as %v, want %v", ends, c.want)
					}
				}
				for _, w := range windows {
					if w.RTP.Timestamp-first != w.FirstSample*3 {
						t.Errorf("sample %d has timestamp %d", w.FirstSample, w.RTP.Timestamp-first)
					}
				}
				checkBook(t, m.book)
			})
		})
	}
}

// checkBook checks that a book adds up with nothing in flight.
func checkBook(t *testing.T, b *book) {
	t.Helper()
	for _, s := range b.counts() {
		for i := range s.Models {
			c := &s.Models[i]
			ended := c.Results
			for _, n := range c.Drops {
				ended += n
			}
			for _, n := range c.Errors {
				ended += n
			}
			if c.InFlight != 0 || c.Accepted != ended || s.Received != c.Accepted+c.NotSampled {
				t.Errorf("%s for %s: %+v of %d", s.Stream, c.Model, c, s.Received)
			}
		}
	}
}

func TestASlowDecoderOfSoundDoesNotFallBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, speech(), 1e9)
		m.decoder.listen = func(r decoder.SoundRequest, dst []int16) ([]int16, error) {
			<-time.After(30 * time.Millisecond) // for 20 ms of sound
			return append(dst, make([]int16, r.Samples)...), nil
		}
		m.say(1000)
		_, ends := m.settled(7)
		m.stop()
		if ends["result"] < 300 || ends["EXPIRED"] != 0 || ends["result"]+ends["OVERLOADED"] != 625 {
			t.Errorf("of 625 windows: %v", ends)
		}
		checkBook(t, m.book)
	})
}

func TestEdgeCase10ASilentTrackBeginsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, speech(), 1e9)
		first := m.ts
		<-time.After(30 * time.Second)
		m.say(16)
		<-time.After(40 * time.Second) // muted: nothing is sent, and timestamps go on (Chromium)
		m.ts += 40 * 48000
		m.say(16)
		windows, ends := m.settled(7)
		m.stop()
		if len(windows) != 20 || ends["result"] != 20 {
			t.Fatalf("%d windows, %v", len(windows), ends)
		}
		if got := windows[10]; got.RTP.Timestamp != first+16*960+40*48000 || got.FirstSample != 10*512+40*16000 {
			t.Errorf("after 40 seconds of nothing sound goes on at sample %d, %d ticks on", got.FirstSample, got.RTP.Timestamp-first)
		}
	})
}

func TestEdgeCase11SilenceAndLossKeepTheirTime(t *testing.T) {
	for name, packetOfSilence := range map[string]time.Duration{"one packet every 400 ms": 400 * time.Millisecond, "no packet": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMicrophone(t, speech(), 1e9)
				first := m.ts
				m.say(100)
				const silence = 10 * time.Second
				for range silence / packetOfSilence { // the last packet of each span of silence is sent after it
					<-time.After(packetOfSilence - 20*time.Millisecond)
					m.ts += uint32((packetOfSilence-20*time.Millisecond)/time.Millisecond) * 48
					m.say(1)
				}
				m.say(100)
				for range 10 { // 200 ms
					m.make(1)
					<-time.After(20 * time.Millisecond)
				}
				m.say(102)
				span := m.ts - first
				windows, ends := m.settled(7)
				m.stop()
				const total = (2 + 10 + 2) * 16000
				if n := continuous(t, windows, m.live.w.inputs[7].Sound, first, 48000); span != 3*(total+3200+640+32000) || n != (total+3200+640+32000)/512*512 {
					t.Errorf("%d samples for a span of %d ticks", n, span)
				}
				if len(ends) != 1 || ends["result"] != len(windows) {
					t.Errorf("%d windows ended as %v", len(windows), ends)
				}
				var all []int16
				for _, w := range windows {
					all = append(all, w.samples...)
				}
				if quiet := all[32000+10 : 32000+int((packetOfSilence-20*time.Millisecond)/time.Millisecond)*16-10]; slices.Max(quiet) != 0 {
					t.Error("silence is not silent")
				}
				concealed, recovered := 0, 0
				for _, r := range m.decoder.sounds {
					switch r.Op {
					case decoder.Conceal:
						concealed += r.Samples
					case decoder.Recover:
						recovered += r.Samples
					case decoder.Decode:
					}
				}
				if concealed != 1600 || recovered != 320 {
					t.Errorf("of 200 ms, %d samples were concealed and %d recovered", concealed, recovered)
				}
				checkBook(t, m.book)
			})
		})
	}
}

func TestAnOutageOfSoundIsNotMadeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, speech(), 1e9)
		first := m.ts
		m.say(100)
		for range 75 { // 1.5 s
			m.make(1)
			<-time.After(20 * time.Millisecond)
		}
		m.say(100)
		windows, ends := m.settled(7)
		m.stop()
		// 1.38 s of zeros hold 43 windows, of which at least 42 lie in them as a whole.
		if damaged := ends["DAMAGED"]; damaged < 42 || damaged > 43 || ends["result"] != len(windows) || len(windows)+damaged != 275*320/512 {
			t.Errorf("%d windows, %v", len(windows), ends)
		}
		if last := windows[len(windows)-1]; last.RTP.Timestamp-first != last.FirstSample*3 || last.FirstSample != (275*320/512-1)*512 {
			t.Errorf("the last window begins at sample %d, %d ticks on", last.FirstSample, last.RTP.Timestamp-first)
		}
	})
}

func TestLossAndReorderingLeaveEverySampleInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, speech(), 1e9)
		// The number of a packet is what its samples say.
		m.decoder.listen = func(r decoder.SoundRequest, dst []int16) ([]int16, error) {
			value := int16(-1)
			if r.Op == decoder.Decode {
				value = int16(binary.BigEndian.Uint16(r.Data[1:]))
			}
			return append(dst, slices.Repeat([]int16{value}, r.Samples)...), nil
		}
		random := rand.New(rand.NewPCG(11, 5))
		const packets = 3000
		first := m.ts
		lost := make(map[int]bool)
		began := time.Now()
		var sending sync.WaitGroup
		for n := range packets {
			p := m.make(0)
			p.RTP.Payload = binary.BigEndian.AppendUint16([]byte{31 << 3}, uint16(n))
			late := time.Duration(random.IntN(35)) * time.Millisecond // reorders neighbours
			if n == 0 {
				late = 0
			}
			if n > 0 && n < packets-1 && random.Float64() < 0.05 {
				lost[n] = true
			} else {
				sending.Go(func() {
					<-time.After(time.Until(began.Add(time.Duration(n)*20*time.Millisecond + late)))
					p.Arrival = time.Now()
					m.packets <- p
				})
			}
		}
		sending.Wait()
		windows, ends := m.settled(7)
		m.stop()
		n := continuous(t, windows, m.live.w.inputs[7].Sound, first, 48000)
		if n != packets*320/512*512 || ends["result"] != n/512 || len(ends) != 1 {
			t.Errorf("%d samples of %d, %v", n, packets*320, ends)
		}
		wrong, at := 0, 0
		for _, w := range windows {
			for _, sample := range w.samples {
				packet := at / 320
				if at++; lost[packet] == (int(sample) == packet) {
					wrong++
				}
			}
		}
		if wrong > 0 || len(lost) < 100 {
			t.Errorf("%d samples out of place, %d packets lost", wrong, len(lost))
		}
	})
}

// TestEdgeCase10SoundAlone runs a session that has nothing but a microphone, which is muted at first, over a network.
func TestEdgeCase10SoundAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetworkOver(t, 20*time.Millisecond)
		r := newRigOn(t, n.edge, nil)
		r.catalog = speech()
		var track *webrtc.TrackLocalStaticRTP
		c := r.newClientOn(n.settings(), func(c *client) {
			var err error
			track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "voice", "stream")
			if err == nil {
				_, err = c.pc.AddTrack(track)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		session, answer, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
		if err != nil {
			t.Fatal(err)
		}
		c.accept(answer)
		<-time.After(40 * time.Second)
		if got := session.State(); got != Connected {
			t.Fatalf("after 40 seconds of nothing the session is %q", got)
		}
		for i := range 160 {
			err := track.WriteRTP(&rtp.Packet{
				Header: rtp.Header{Version: 2, SequenceNumber: uint16(65500 + i), Timestamp: uint32(1<<32 - 9600 + i*960)}, Payload: []byte{31 << 3, 3},
			})
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(20 * time.Millisecond)
		}
		<-time.After(time.Second)
		session.Close("test")
		voice := checkCounts(t, session)["voice"]
		if voice.Received != 100 || voice.Models[0].Results != 100 {
			t.Errorf("of 3.2 seconds of sound: %+v", voice)
		}
		r.close()
		_ = c.pc.GracefulClose()
		_ = n.router.Stop()
	})
}
