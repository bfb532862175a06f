package session

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
)

// The tests of this file are the edge cases of data channels, in virtual time, over a network that takes 10 ms each way.

// talk is a client with data channels only, connected to an edge.
type talk struct {
	t       *testing.T
	network *network
	rig     *rig
	client  *client
	session *Session
}

// beginTalk connects a client whose channels prepare opens, after change has had its way with the edge's answer and the client's settings.
func beginTalk(t *testing.T, settings func(*webrtc.SettingEngine), change func(answer string) string, prepare func(*client)) *talk {
	t.Helper()
	s := newTalk(t)
	s.begin(settings, change, prepare)
	return s
}

func newTalk(t *testing.T) *talk {
	t.Helper()
	s := &talk{t: t, network: newNetworkOver(t, 10*time.Millisecond)}
	s.rig = newRigOn(t, s.network.edge, nil)
	return s
}

func (s *talk) begin(settings func(*webrtc.SettingEngine), change func(answer string) string, prepare func(*client)) {
	s.t.Helper()
	own := s.network.settings()
	settings(&own)
	s.client = s.rig.newClientOn(own, prepare)
	var answer string
	var err error
	if s.session, answer, err = s.rig.manager.Create(s.t.Context(), Request{Offer: s.client.offer()}); err != nil {
		s.t.Fatal(err)
	}
	s.client.accept(change(answer))
}

// end closes both sides. Each side's end is kept from the other: a connection with data channels that is told to close while it closes itself
// waits for a timer with a mutex held, which stops a bubble's clock.
func (s *talk) end() {
	s.network.router.AddChunkFilter(func(vnet.Chunk) bool { return false })
	s.rig.close()
	_ = s.client.pc.GracefulClose()
	_ = s.network.router.Stop()
}

func fromClient(c vnet.Chunk) bool { return strings.HasPrefix(c.SourceAddr().String(), "10.0.0.2:") }

func asIs(answer string) string   { return answer }
func plain(*webrtc.SettingEngine) {}
func lift(limit string) func(string) string {
	return func(answer string) string {
		return strings.Replace(answer, "a=max-message-size:262144", "a=max-message-size:"+limit, 1)
	}
}

// pulse sends a small picture on a channel every 50 ms until stop is called, which gives how long the slowest took to its result.
func pulse(t *testing.T, d *webrtc.DataChannel, got <-chan message) (stop func() (slowest time.Duration, pulses int)) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	var slowest time.Duration
	pulses := 0
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			sent := time.Now()
			send(t, d, jpeg(100))
			if o := outcome(t, got).Outcome; o.Result == nil {
				t.Errorf("pulse %d: %+v", pulses, o)
			}
			slowest, pulses = max(slowest, time.Since(sent)), pulses+1
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() (time.Duration, int) {
		close(quit)
		<-done
		return slowest, pulses
	}
}

func TestEdgeCase13AMessageTooLargeHangsNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(string) string
		whole  int  // bytes of the message sent whole
		sends  bool // whether the client's own stack lets it
	}{
		{"a browser that keeps to what was announced", asIs, 300 << 10, false},
		{"one that takes the limit for 1 GiB, a little too much", lift("1073741823"), 300 << 10, true},
		{"and far too much", lift("1073741823"), 2 << 20, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d, other *webrtc.DataChannel
				var got, beats <-chan message
				s := beginTalk(t, plain, c.change, func(c *client) {
					d, got = c.channel("big", "image/jpeg")
					other, beats = c.channel("other", "image/jpeg")
				})
				defer s.end()
				opened(t, d)
				opened(t, other)
				stop := pulse(t, other, beats)
				err := d.Send(jpeg(c.whole))
				switch {
				case !c.sends && err == nil:
					t.Error("the client sent more than the edge announced")
				case c.sends && err != nil:
					t.Fatal(err)
				case c.sends:
					if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "TOO_LARGE" {
						t.Errorf("sent whole: %+v", o)
					}
				}
				// The same in chunks of the application is taken, up to 4 MiB.
				for _, size := range []int{300 << 10, c.whole} {
					const part = 60 << 10
					count := (size + part - 1) / part
					whole := jpeg(size)
					for i := range count {
						send(t, d, chunk(uint32(size), uint32(i), uint32(count), whole[i*part:min(size, (i+1)*part)]))
					}
					if o := outcome(t, got).Outcome; o.Result == nil {
						t.Errorf("%d KiB in chunks: %+v", size>>10, o)
					}
				}
				send(t, d, jpeg(100))
				if o := outcome(t, got).Outcome; o.Result == nil {
					t.Errorf("afterwards: %+v", o)
				}
				// SCTP shares its way between the channels: a message of another one is not worth a second.
				if slowest, pulses := stop(); slowest > time.Second || pulses < 2 {
					t.Errorf("of %d messages on another channel the slowest took %v", pulses, slowest)
				} else {
					t.Logf("of %d messages on another channel the slowest took %v", pulses, slowest)
				}
				if s.session.State() != Connected {
					t.Errorf("the session is %q", s.session.State())
				}
			})
		})
	}
}

// A message whose last chunks never come is counted in bounded time, and its channel goes on.
func TestEdgeCase13AMessageThatStaysIncompleteIsDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *webrtc.DataChannel
		var got <-chan message
		s := beginTalk(t, plain, asIs, func(c *client) { d, got = c.channel("big", "image/jpeg") })
		defer s.end()
		opened(t, d)
		for id := range uint32(3) {
			began := time.Now()
			send(t, d, chunk(id, 0, 2, jpeg(1000)))
			send(t, d, jpeg(100)) // others are not held back
			if o := outcome(t, got).Outcome; o.Result == nil {
				t.Errorf("meanwhile: %+v", o)
			}
			if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "DAMAGED" {
				t.Errorf("an incomplete message: %+v", o)
			}
			if after := time.Since(began); after < chunkPatience || after > chunkPatience+100*time.Millisecond {
				t.Errorf("given up after %v", after)
			}
			<-time.After(time.Minute) // nothing is left that times out
		}
		send(t, d, chunk(9, 0, 1, jpeg(1000)))
		if o := outcome(t, got).Outcome; o.Result == nil || o.Sequence != 7 {
			t.Errorf("afterwards: %+v", o)
		}
	})
}

// A message that is longer than all that the edge keeps of an association can never be completed, and keeps everything else out. The session ends: it is
// the client's doing, and a client that hears nothing at all would not know.
func TestEdgeCase13AMessageThatFillsTheAssociation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *webrtc.DataChannel
		s := beginTalk(t, plain, lift("1073741823"), func(c *client) { d, _ = c.channel("big", "image/jpeg") })
		defer s.end()
		opened(t, d)
		if err := d.Send(jpeg(8 << 20)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.session.Done():
		case <-time.After(20 * time.Second):
			t.Errorf("the session is %q", s.session.State())
		}
	})
}

// sleeper is a client that sends a small picture every 20 ms and reads its channel only when the test says so.
type sleeper struct {
	t      *testing.T
	stream io.ReadWriteCloser
	live   *downlink.Sink // of somebody who reads always, as Server-Sent Events do
	sent   uint32
}

// clientBuffer is what a sleepy client's SCTP keeps of what is not read.
const clientBuffer = 64 << 10

// sleepy is the setting of a client that reads by itself.
func sleepy(settings *webrtc.SettingEngine) {
	settings.DetachDataChannels()
	settings.SetSCTPMaxReceiveBufferSize(clientBuffer)
}

func newSleeper(t *testing.T, s *talk, d *webrtc.DataChannel) *sleeper {
	t.Helper()
	opened(t, d)
	stream, err := d.Detach()
	if err != nil {
		t.Fatal(err)
	}
	live, err := s.session.Subscribe(downlink.Live)
	if err != nil {
		t.Fatal(err)
	}
	return &sleeper{t: t, stream: stream, live: live}
}

// send sends for a while, and checks that whoever reads is kept waiting by nobody.
func (s *sleeper) send(length time.Duration) {
	s.t.Helper()
	for range int(length / (20 * time.Millisecond)) {
		if _, err := s.stream.Write(jpeg(100)); err != nil {
			s.t.Fatal(err)
		}
		s.sent++
		<-time.After(20 * time.Millisecond)
		var m message
		got, err := s.live.Next(s.t.Context())
		if err != nil || json.Unmarshal(got.JSON, &m) != nil || m.Outcome == nil || m.Outcome.Sequence != s.sent || m.Outcome.Result == nil {
			s.t.Fatalf("unit %d: %s, %v", s.sent, got.JSON, err)
		}
	}
}

// read reads from now on, until the channel ends, and gives each message with its size.
func (s *sleeper) read() <-chan arrival {
	awake := make(chan arrival, 10000)
	go func() {
		defer close(awake)
		buffer := make([]byte, 64<<10)
		for {
			n, err := s.stream.Read(buffer)
			if err != nil {
				return
			}
			var m message
			if err := json.Unmarshal(buffer[:n], &m); err != nil {
				s.t.Error(err)
			}
			awake <- arrival{m, n}
		}
	}()
	return awake
}

type arrival struct {
	message
	bytes int
}

func TestEdgeCase14ASlowReaderGetsTheNewestResultNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *webrtc.DataChannel
		s := beginTalk(t, sleepy, asIs, func(c *client) {
			var err error
			if d, err = c.pc.CreateDataChannel("camera", nil); err != nil {
				t.Fatal(err)
			}
		})
		defer s.end()
		c := newSleeper(t, s, d)
		c.send(30 * time.Second)
		asleep := c.sent
		awake := c.read()
		c.send(5 * time.Second)
		synctest.Wait()

		// First what had left before, which is bounded; then how many were lost; then the newest, and from there on all.
		old, bytes, last, skipped := 0, 0, uint32(0), uint32(0)
		for range len(awake) {
			switch m := <-awake; {
			case m.Skipped != nil && skipped > 0:
				t.Errorf("skipped %d after %d already", *m.Skipped, skipped)
			case m.Skipped != nil:
				skipped = *m.Skipped
				last += skipped
				if last+1 < asleep-15 { // an attempt to write lasts 250 ms
					t.Errorf("after %d the newest is unit %d, at least %d was sent", skipped, last+1, asleep)
				}
			case m.Outcome.Sequence != last+1:
				t.Errorf("unit %d after %d", m.Outcome.Sequence, last)
			default:
				last++
				if skipped == 0 {
					old, bytes = old+1, bytes+m.bytes
				}
			}
		}
		if skipped < 1000 || last != c.sent {
			t.Errorf("skipped %d, the last is %d of %d", skipped, last, c.sent)
		}
		if bytes > clientBuffer+16<<10 {
			t.Errorf("%d messages of %d bytes in all were kept for a reader whose buffer has %d", old, bytes, clientBuffer)
		}
		t.Logf("%d old results of %d bytes, %d skipped, %d of %d delivered", old, bytes, skipped, last-skipped, c.sent)
	})
}

// What a client says is heard though it listens to nothing.
func TestEdgeCase14ASleepingReaderIsStillHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d, control *webrtc.DataChannel
		s := beginTalk(t, sleepy, asIs, func(c *client) {
			var err error
			if d, err = c.pc.CreateDataChannel("camera", nil); err != nil {
				t.Fatal(err)
			}
			protocol := controlProtocol
			if control, err = c.pc.CreateDataChannel("", &webrtc.DataChannelInit{Protocol: &protocol}); err != nil {
				t.Fatal(err)
			}
		})
		defer s.end()
		opened(t, control)
		c := newSleeper(t, s, d)
		said, err := control.Detach()
		if err != nil {
			t.Fatal(err)
		}
		c.send(20 * time.Second)
		s.network.router.AddChunkFilter(fromClient) // see talk.end
		if _, err := said.Write([]byte(`{"bye":{}}`)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-s.session.Done()
		if after := time.Since(began); after > settleLimit+flushLimit+100*time.Millisecond {
			t.Errorf("the session ended %v after the client said bye", after)
		}
		checkCounts(t, s.session)
	})
}
