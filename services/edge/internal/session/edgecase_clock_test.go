package session

import (
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// The tests of this file are the edge cases of time, and of tracks that are not there.

// captureTimeURI names the header extension with capture times.
const captureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

// both is a catalog with a model that sees and one that hears.
func both() uplink.Catalog {
	c, s := faces(), speech()
	c.Models, c.Inputs = append(c.Models, s.Models...), append(c.Inputs, s.Inputs...)
	return c
}

// reporter takes the place of pion's sender reports.
type reporter struct {
	interceptor.NoOp
	mu     sync.Mutex
	writer interceptor.RTCPWriter
}

// NewInterceptor implements interceptor.Factory.
func (r *reporter) NewInterceptor(string) (interceptor.Interceptor, error) { return r, nil }

// BindRTCPWriter implements interceptor.Interceptor.
func (r *reporter) BindRTCPWriter(writer interceptor.RTCPWriter) interceptor.RTCPWriter {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writer = writer
	return interceptor.RTCPWriterFunc(func(packets []rtcp.Packet, a interceptor.Attributes) (int, error) {
		packets = slices.DeleteFunc(packets, func(p rtcp.Packet) bool { _, ok := p.(*rtcp.SenderReport); return ok })
		if len(packets) == 0 {
			return 0, nil
		}
		return writer.Write(packets, a)
	})
}

func (r *reporter) send(t *testing.T, report *rtcp.SenderReport) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.writer.Write([]rtcp.Packet{report}, nil); err != nil {
		t.Error(err)
	}
}

// recorder sends pictures and sound that were captured at known times: a picture every 33 ms, which its encoder keeps for 80 ms, and a packet
// of sound every 20 ms, which is sent at once.
type recorder struct {
	t        *testing.T
	pictures *recording
	sound    *recording
	reporter *reporter
	began    time.Time

	// ahead is how far the sender's clock is ahead of the true time.
	ahead time.Duration
	// stamps tells that packets carry their capture times.
	stamps bool
}

// show is a recorder connected to an edge over a network that takes 30 ms.
type show struct {
	*recorder
	rig     *rig
	uplink  *fakeUplink
	client  *client
	session *Session
	network *network
}

const showDelay = 30 * time.Millisecond

// beginShow connects a recorder that has tracks for pictures, sound or both.
func beginShow(t *testing.T, pictures, sound bool) *show {
	t.Helper()
	s := &show{network: newNetworkOver(t, showDelay), recorder: &recorder{t: t, reporter: &reporter{}}}
	s.rig = newRigOn(t, s.network.edge, nil)
	s.rig.catalog = both()
	extend := func(engine *webrtc.MediaEngine, registry *interceptor.Registry) error {
		registry.Add(s.reporter)
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
			if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: captureTimeURI}, kind); err != nil {
				return err
			}
		}
		return nil
	}
	s.client = s.rig.newClientWith(s.network.settings(), extend, func(c *client) {
		if pictures {
			s.pictures = c.record(webrtc.MimeTypeVP8, 90000, 0, "camera", 1<<32-22*90_000) // wraps after 22 s
		}
		if sound {
			s.sound = c.record(webrtc.MimeTypeOpus, 48000, 2, "mic", 1<<32-25*48_000)
			s.sound.rate *= 1 + 100e-6 // its crystal is not that of the wall clock
		}
	})
	var answer string
	var err error
	if s.session, answer, err = s.rig.manager.Create(t.Context(), Request{Offer: s.client.offer()}); err != nil {
		t.Fatal(err)
	}
	s.client.accept(answer)
	<-time.After(5 * time.Second)
	if s.session.State() != Connected {
		t.Fatalf("the session is %q", s.session.State())
	}
	s.uplink, s.began = s.rig.uplinks[0], time.Now()
	return s
}

// end closes both sides.
func (s *show) end() {
	s.rig.close()
	_ = s.client.pc.GracefulClose()
	_ = s.network.router.Stop()
}

// recording is one track.
type recording struct {
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
	rate   float64
	first  uint32 // timestamp of what was captured at the beginning
	seq    uint16
}

func (c *client) record(mime string, rate uint32, channels uint16, id string, first uint32) *recording {
	c.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: rate, Channels: channels}, id, "stream")
	if err != nil {
		c.t.Fatal(err)
	}
	sender, err := c.pc.AddTrack(track)
	if err != nil {
		c.t.Fatal(err)
	}
	go func() { // ends with the connection
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	}()
	return &recording{track: track, sender: sender, rate: float64(rate), first: first}
}

// timestamp gives that of what was captured so long after the beginning.
func (r *recording) timestamp(after time.Duration) uint32 {
	return r.first + uint32(int64(math.Round(after.Seconds()*r.rate)))
}

// send sends what was captured then in one packet.
func (r *recorder) send(to *recording, captured time.Duration, payload []byte) {
	to.seq++
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: to.seq, Timestamp: to.timestamp(captured), Marker: true},
		Payload: payload,
	}
	for _, e := range to.sender.GetParameters().HeaderExtensions {
		if r.stamps && e.URI == captureTimeURI {
			stamp, _ := rtp.NewAbsCaptureTimeExtension(r.began.Add(captured + r.ahead)).Marshal()
			_ = p.SetExtension(uint8(e.ID), stamp)
		}
	}
	if err := to.track.WriteRTP(p); err != nil {
		r.t.Fatal(err)
	}
}

// run records for a while, with sender reports of both every second if they are wanted.
func (r *recorder) run(length time.Duration, reports bool) {
	const encoder = 80 * time.Millisecond
	end := time.Since(r.began) + length
	for at := time.Since(r.began).Truncate(time.Millisecond); at < end; at += time.Millisecond {
		<-time.After(time.Until(r.began.Add(at)))
		if ms := at.Milliseconds(); r.pictures != nil && ms%33 == 0 {
			r.send(r.pictures, at-encoder, append([]byte{0x10}, picture(uint32(ms), true, 1)...))
		}
		if r.sound != nil && at%(20*time.Millisecond) == 0 {
			r.send(r.sound, at-20*time.Millisecond, []byte{0xf8, 0xff, 0xfe}) // 20 ms
		}
		if reports && at%time.Second == 0 {
			wrong := at.Milliseconds() / 1000 % 3 // 0, 1 or 2
			r.report(at, time.Duration(2*wrong-2)*time.Millisecond)
		}
	}
}

// report sends the sender reports of a time: each says what is being captured then, but for an error.
func (r *recorder) report(at, off time.Duration) {
	for i, to := range []*recording{r.pictures, r.sound} {
		if to == nil {
			continue
		}
		if i == 1 {
			off = -off
		}
		r.reporter.send(r.t, &rtcp.SenderReport{
			SSRC: uint32(to.sender.GetParameters().Encodings[0].SSRC), NTPTime: ntpTime(r.began.Add(at + off + r.ahead)), RTPTime: to.timestamp(at),
		})
	}
}

func ntpTime(at time.Time) uint64 {
	return uint64(at.Unix()+2208988800)<<32 | uint64(at.Nanosecond())<<32/uint64(time.Second)
}

// truth gives when what a frame shows was captured, by the true time.
func (r *recorder) truth(f media.Frame) time.Time {
	of := r.pictures
	if f.Stream == "mic" {
		of = r.sound
	}
	return r.began.Add(time.Duration(float64(int32(f.RTP.Timestamp-of.first)) / of.rate * float64(time.Second)))
}

// take is the frames of a while, of both streams.
type take map[string][]media.Frame

// since gives the frames of what was captured from a time on.
func (s *show) since(from time.Time) take {
	s.uplink.mu.Lock()
	defer s.uplink.mu.Unlock()
	frames := take{}
	for _, f := range s.uplink.frames {
		if s.truth(f).After(from) {
			frames[f.Stream] = append(frames[f.Stream], f)
		}
	}
	return frames
}

// expectClock checks that both streams have frames, all with a clock, and their distance from the sender's time.
func (r *recorder) expectClock(t *testing.T, what string, frames take, quality media.Clock, within time.Duration) {
	t.Helper()
	for _, stream := range []string{"camera", "mic"} {
		if len(frames[stream]) < 5 {
			t.Errorf("%s: %d frames of %s", what, len(frames[stream]), stream)
		}
		for _, f := range frames[stream] {
			if off := f.Captured.Sub(r.truth(f).Add(r.ahead)); f.Clock != quality || off.Abs() > within {
				t.Errorf("%s: a frame of %s is %v off, by %v", what, stream, off, f.Clock)
				break
			}
		}
	}
}

// skew gives how far sound and pictures are apart at most.
func (r *recorder) skew(frames take) (most time.Duration) {
	for _, a := range frames["camera"] {
		for _, b := range frames["mic"] {
			most = max(most, (a.Captured.Sub(r.truth(a)) - b.Captured.Sub(r.truth(b))).Abs())
		}
	}
	return most
}

func TestEdgeCase12ClocksThatAreMissingWrongAndSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, arrival = 45 * time.Millisecond, showDelay + 100*time.Millisecond
		s := beginShow(t, true, true)
		defer s.end()

		s.run(5*time.Second, false)
		frames := s.since(s.began)
		s.expectClock(t, "without reports", frames, media.ClockArrival, arrival)
		if skew := s.skew(frames); skew < most {
			t.Errorf("without reports sound and pictures are %v apart, so that the rest shows nothing", skew)
		}

		for _, to := range []*recording{s.pictures, s.sound} {
			s.reporter.send(t, &rtcp.SenderReport{
				SSRC: uint32(to.sender.GetParameters().Encodings[0].SSRC), NTPTime: ntpTime(s.began.Add(time.Hour)), RTPTime: 0xffffffff,
			})
		}
		from := time.Now()
		s.run(1500*time.Millisecond, false)
		s.expectClock(t, "after a first report that is nonsense", s.since(from), media.ClockArrival, arrival)

		s.ahead = -37 * time.Minute
		s.expectSkew(t, "with reports", 1500*time.Millisecond, media.ClockSenderReport, most)
		s.ahead += time.Hour
		s.expectSkew(t, "after the sender's clock was set", 2500*time.Millisecond, media.ClockSenderReport, most)
		s.stamps = true
		s.expectSkew(t, "with capture times", 500*time.Millisecond, media.ClockAbsCapture, most)
		s.stamps = false
		s.expectSkew(t, "when these stop", 7*time.Second, media.ClockSenderReport, most)
		s.session.Close("test")
		checkCounts(t, s.session)
	})
}

// expectSkew runs until things have settled, and then for as long as a whole round of errors of the reports takes: all frames must be on the
// sender's clock, and sound and pictures together.
func (s *show) expectSkew(t *testing.T, what string, settle time.Duration, quality media.Clock, most time.Duration) {
	t.Helper()
	s.run(settle, true)
	from := time.Now()
	s.run(4*time.Second, true)
	frames := s.since(from)
	s.expectClock(t, what, frames, quality, 6*time.Millisecond)
	skew := s.skew(frames)
	if skew > most {
		t.Errorf("%s: sound and pictures are %v apart", what, skew)
	}
	t.Logf("%s: sound and pictures are %v apart at most", what, skew)
}

func TestEdgeCase10TracksOfOneKindOrSilentOnes(t *testing.T) {
	for name, c := range map[string]struct {
		pictures, sound bool
		silence         time.Duration // before the first packet
	}{
		"sound only": {sound: true}, "pictures only": {pictures: true},
		"both silent for long": {true, true, 40 * time.Second}, "sound silent for long": {false, true, 2 * setupLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := beginShow(t, c.pictures, c.sound)
				defer s.end()
				<-time.After(c.silence)
				if s.session.State() != Connected {
					t.Fatalf("after %v of silence the session is %q", c.silence, s.session.State())
				}
				if streams := s.session.Counts(); len(streams) != 0 {
					t.Errorf("before any media there are streams: %+v", streams)
				}
				from := time.Now()
				s.run(2*time.Second, true)
				frames := s.since(from)
				for stream, sends := range map[string]bool{"camera": c.pictures, "mic": c.sound} {
					if n := len(frames[stream]); n > 0 != sends || sends && n < 50 {
						t.Errorf("%d frames of %s in two seconds", n, stream)
					}
				}
				s.session.Close("test")
				if counts := checkCounts(t, s.session); len(counts) != len(frames) {
					t.Errorf("counts of %d streams, want %d", len(counts), len(frames))
				}
			})
		})
	}
}

func TestEdgeCase10OneTrackIsSilentWhileTheOtherGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := beginShow(t, true, true)
		defer s.end()
		camera := s.pictures
		s.pictures = nil // muted from the start
		s.run(35*time.Second, false)
		s.pictures = camera
		from := time.Now()
		s.run(3*time.Second, true)
		if frames := s.since(from); s.session.State() != Connected || len(frames["camera"]) < 80 || len(frames["mic"]) < 80 {
			t.Errorf("the session is %q; %d frames of pictures, %d of sound", s.session.State(), len(frames["camera"]), len(frames["mic"]))
		}
	})
}

func TestEdgeCase10MessagesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *webrtc.DataChannel
		var got <-chan message
		s := beginTalk(t, plain, asIs, func(c *client) { d, got = c.channel("", "") })
		defer s.end()
		opened(t, d)
		<-time.After(2 * setupLimit)
		if s.session.State() != Connected {
			t.Fatalf("the session is %q", s.session.State())
		}
		send(t, d, jpeg(100))
		if o := outcome(t, got).Outcome; o.Result == nil {
			t.Errorf("a picture by message: %+v", o)
		}
	})
}
