package session

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

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
