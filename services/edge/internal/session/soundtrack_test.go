package session

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/clock"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

func TestSoundGoesUpInWindows(t *testing.T) {
	for name, codec := range map[string]media.Codec{"Opus": media.Opus, "PCMU": media.PCMU, "PCMA": media.PCMA, "G722": media.G722} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMicrophone(t, speech(), 1e9)
				m.codec, m.payload = codec, 9
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

func TestSoundKnowsWhenItWasCaptured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMicrophone(t, speech(), 1e9)
		const ntp = 4000000000 << 32 // on the sender's clock
		for i := range 100 {
			p := m.make(1)
			if i == 0 {
				p.Capture = ntp
			}
			m.packets <- p
			<-time.After(20 * time.Millisecond)
		}
		windows, _ := m.settled(7)
		m.stop()
		for i, w := range windows {
			if want := clock.Time(ntp).Add(time.Duration(i) * 32 * time.Millisecond); w.Clock != media.ClockAbsCapture || !w.Captured.Equal(want) {
				t.Fatalf("window %d was captured at %v by %v, want %v", i, w.Captured, w.Clock, want)
			}
		}
		if len(windows) != 62 {
			t.Errorf("%d windows", len(windows))
		}
	})
}
