package clock

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const video = 90000

var (
	// here is when a test begins on the edge's clock, there on the sender's, which is an hour and a half off.
	here  = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	there = here.Add(90 * time.Minute)
)

// ntp gives the NTP timestamp of a time.
func ntp(at time.Time) uint64 {
	seconds := uint64(at.Unix()+2208988800) & math.MaxUint32
	return seconds<<32 | uint64(at.Nanosecond())<<32/uint64(time.Second)
}

// sender is a source whose clocks are known: timestamps begin at first, and its media clock drifts against its wall clock.
type sender struct {
	first uint32
	rate  float64
	drift float64 // media seconds too many per second
	wall  time.Time
}

func (s sender) timestamp(after time.Duration) uint32 {
	ticks := after.Seconds() * (1 + s.drift) * s.rate
	return s.first + uint32(int64(math.Round(ticks)))
}

func (s sender) report(after time.Duration) media.SenderReport {
	return media.SenderReport{RTPTimestamp: s.timestamp(after), NTP: ntp(s.wall.Add(after))}
}

func camera() sender { return sender{first: 1<<32 - video, rate: video, wall: there} } // wraps after a second

// run calls At for each unit of a span at 30 a second, taking delay each, and gives what the last one said.
func run(c *Clock, s sender, from, to, delay time.Duration) (at time.Time, quality media.Clock) {
	for t := from; t <= to; t += time.Second / 30 {
		at, quality = c.At(s.timestamp(t), here.Add(t+delay))
	}
	return at, quality
}

func expect(t *testing.T, what string, got time.Time, quality media.Clock, want time.Time, wantQuality media.Clock, within time.Duration) {
	t.Helper()
	if off := got.Sub(want); off.Abs() > within || quality != wantQuality {
		t.Errorf("%s: %v off, by %v; want at most %v, by %v", what, off, quality, within, wantQuality)
	}
}

func TestArrivalIsThatOfThePacketsThatNothingHeldUp(t *testing.T) {
	t.Parallel()
	c, s := New(video), camera()
	noise := rand.New(rand.NewPCG(1, 2))
	c.At(s.timestamp(0), here.Add(20*time.Millisecond))
	for n := range 900 {
		after := time.Duration(n+1) * time.Second / 30
		delay := 20*time.Millisecond + time.Duration(noise.IntN(80))*time.Millisecond
		at, quality := c.At(s.timestamp(after), here.Add(after+delay))
		// The least of ten seconds' delays is within 2 ms of the least there is.
		expect(t, "a unit", at, quality, here.Add(after+20*time.Millisecond), media.ClockArrival, 3*time.Millisecond)
	}
}

func TestArrivalFollowsClocksThatDriftApart(t *testing.T) {
	t.Parallel()
	for _, drift := range []float64{-200e-6, 200e-6} {
		c, s := New(video), camera()
		s.drift = drift
		at, quality := run(c, s, 0, 10*time.Minute, 0)
		expect(t, "after ten minutes", at, quality, here.Add(10*time.Minute), media.ClockArrival, 40*time.Millisecond)
	}
}

func TestReportsMakeTheSendersClock(t *testing.T) {
	t.Parallel()
	c, s := New(video), camera()
	at, quality := run(c, s, 0, 2*time.Second, 50*time.Millisecond)
	expect(t, "before a report", at, quality, here.Add(2*time.Second+50*time.Millisecond), media.ClockArrival, time.Millisecond)
	c.Report(s.report(1500*time.Millisecond), here.Add(2*time.Second)) // on the other side of the wrap
	at, quality = c.At(s.timestamp(2*time.Second), here.Add(3*time.Second))
	expect(t, "after one", at, quality, there.Add(2*time.Second), media.ClockSenderReport, time.Millisecond)
	at, _ = c.At(s.timestamp(500*time.Millisecond), here.Add(3*time.Second))
	expect(t, "a unit from before the wrap", at, quality, there.Add(500*time.Millisecond), media.ClockSenderReport, time.Millisecond)
}

func TestAReportThatCameBeforeAnyMediaIsJudgedByTheFirst(t *testing.T) {
	t.Parallel()
	for first, want := range map[uint32]media.Clock{0xffffffff: media.ClockArrival, 5000: media.ClockSenderReport} {
		c := New(video)
		c.Report(media.SenderReport{RTPTimestamp: first, NTP: ntp(there)}, here)
		_, quality := c.At(5000+20*video/4, here)
		if first == 0xffffffff {
			_, quality = c.At(5000+20*video, here)
		}
		if quality != want {
			t.Errorf("a report with timestamp %d is taken as %v, want %v", first, quality, want)
		}
	}
}

func TestReportsThatAreNotBelieved(t *testing.T) {
	t.Parallel()
	s := camera()
	for name, r := range map[string]media.SenderReport{
		"far ahead":  {RTPTimestamp: s.timestamp(20 * time.Second), NTP: ntp(there)},
		"far behind": {RTPTimestamp: s.timestamp(-20 * time.Second), NTP: ntp(there)},
		"no clock":   {RTPTimestamp: s.timestamp(time.Second)},
	} {
		c := New(video)
		run(c, s, 0, time.Second, 0)
		c.Report(r, here.Add(time.Second))
		c.Report(r, here.Add(2*time.Second))
		if _, quality := c.At(s.timestamp(2*time.Second), here.Add(2*time.Second)); quality != media.ClockArrival {
			t.Errorf("%s: it is believed (%v)", name, quality)
		}
	}
}

func TestAReportOfASilentSourceMayRunOn(t *testing.T) {
	t.Parallel()
	c, s := New(video), camera()
	run(c, s, 0, time.Second, 0)
	c.Report(s.report(31*time.Second), here.Add(31*time.Second))
	at, quality := c.At(s.timestamp(32*time.Second), here.Add(32*time.Second))
	expect(t, "after a pause", at, quality, there.Add(32*time.Second), media.ClockSenderReport, time.Millisecond)
}

func TestAClockThatIsSetNeedsTwoReports(t *testing.T) {
	t.Parallel()
	c, s := New(video), camera()
	for n := range 5 {
		after := time.Duration(n) * time.Second
		run(c, s, after, after, 0)
		c.Report(s.report(after), here.Add(after))
	}
	late := s
	late.wall = there.Add(time.Hour)
	run(c, s, 5*time.Second, 5*time.Second, 0)
	c.Report(late.report(5*time.Second), here.Add(5*time.Second))
	at, quality := run(c, s, 5*time.Second, 6*time.Second, 0)
	expect(t, "one that contradicts", at, quality, there.Add(6*time.Second), media.ClockSenderReport, time.Millisecond)
	c.Report(s.report(6*time.Second), here.Add(6*time.Second)) // as before: the odd one is forgotten
	c.Report(late.report(7*time.Second), here.Add(7*time.Second))
	at, quality = run(c, s, 6*time.Second, 7*time.Second, 0)
	expect(t, "another one, later", at, quality, there.Add(7*time.Second), media.ClockSenderReport, time.Millisecond)
	c.Report(late.report(8*time.Second), here.Add(8*time.Second))
	at, quality = run(c, s, 7*time.Second, 8*time.Second, 0)
	expect(t, "confirmed", at, quality, there.Add(time.Hour+8*time.Second), media.ClockSenderReport, time.Millisecond)
}

func TestReportsMakeUpForDriftAndRounding(t *testing.T) {
	t.Parallel()
	for _, drift := range []float64{-300e-6, 0, 300e-6} {
		c, s := New(video), camera()
		s.drift = drift
		noise := rand.New(rand.NewPCG(3, 4))
		for n := range 30 {
			after := time.Duration(n) * time.Second
			run(c, s, after, after, 0)
			r := s.report(after)
			r.NTP = ntp(s.wall.Add(after + time.Duration(noise.IntN(9)-4)*time.Millisecond))
			c.Report(r, here.Add(after))
		}
		at, quality := run(c, s, 33*time.Second, 33*time.Second, 0) // four seconds after the last report
		expect(t, "a drifting clock", at, quality, there.Add(33*time.Second), media.ClockSenderReport, 6*time.Millisecond)
	}
}

func TestCaptureTimesOfPackets(t *testing.T) {
	t.Parallel()
	c, s := New(video), camera()
	run(c, s, 0, time.Second, 0)
	c.Report(s.report(time.Second), here.Add(time.Second))
	exact := func(after time.Duration) time.Time { return there.Add(after - 20*time.Millisecond) }
	c.Absolute(ntp(exact(2*time.Second)), s.timestamp(2*time.Second))
	at, quality := run(c, s, time.Second, 2*time.Second, 0)
	expect(t, "a packet that has one", at, quality, exact(2*time.Second), media.ClockAbsCapture, time.Millisecond)
	at, quality = run(c, s, 2*time.Second, 6*time.Second, 0)
	expect(t, "those after it", at, quality, exact(6*time.Second), media.ClockAbsCapture, time.Millisecond)
	at, quality = run(c, s, 6*time.Second, 8*time.Second, 0)
	expect(t, "when there are no more", at, quality, there.Add(8*time.Second), media.ClockSenderReport, time.Millisecond)
	c.Absolute(0, s.timestamp(8*time.Second))
	c.Absolute(ntp(exact(9*time.Second+time.Hour)), s.timestamp(9*time.Second))
	at, quality = run(c, s, 8*time.Second, 9*time.Second, 0)
	expect(t, "one that is none, and one that contradicts", at, quality, there.Add(9*time.Second), media.ClockSenderReport, time.Millisecond)
	c.Absolute(ntp(exact(10*time.Second+time.Hour)), s.timestamp(10*time.Second))
	at, quality = run(c, s, 9*time.Second, 10*time.Second, 0)
	expect(t, "confirmed", at, quality, exact(10*time.Second+time.Hour), media.ClockAbsCapture, time.Millisecond)
}

func TestACaptureTimeOfTheVeryFirstPacket(t *testing.T) {
	t.Parallel()
	c, s := New(video), camera()
	c.Absolute(ntp(there), s.timestamp(0))
	at, quality := c.At(s.timestamp(0), here)
	expect(t, "the first", at, quality, there, media.ClockAbsCapture, time.Millisecond)
}

func TestANewSequenceOfTimestampsVoidsWhatWasSaidBefore(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-time.Hour, -time.Minute, time.Minute, time.Hour} {
		c, s := New(video), camera()
		run(c, s, 0, time.Second, 0)
		c.Report(s.report(time.Second), here.Add(time.Second))
		c.Absolute(ntp(there), s.timestamp(time.Second))
		next := s
		next.first = s.timestamp(jump)
		at, quality := run(c, next, 2*time.Second, 3*time.Second, 0)
		expect(t, "the new sequence "+jump.String(), at, quality, here.Add(3*time.Second), media.ClockArrival, time.Millisecond)
		c.Report(next.report(3*time.Second), here.Add(3*time.Second))
		at, quality = run(c, next, 3*time.Second, 4*time.Second, 0)
		expect(t, "with a report "+jump.String(), at, quality, there.Add(4*time.Second), media.ClockSenderReport, time.Millisecond)
	}
}

func TestSoundAndPicturesAreOnOneClock(t *testing.T) {
	t.Parallel()
	picture, sound := New(video), New(48000)
	cam, mic := camera(), sender{first: 12345, rate: 48000, wall: there, drift: 50e-6}
	for n := range 60 {
		after := time.Duration(n) * time.Second
		run(picture, cam, after, after, 80*time.Millisecond)
		run(sound, mic, after, after, 15*time.Millisecond)
		picture.Report(cam.report(after), here.Add(after))
		if n%5 == 0 {
			sound.Report(mic.report(after), here.Add(after))
		}
		a, _ := picture.At(cam.timestamp(after), here.Add(after+80*time.Millisecond))
		b, _ := sound.At(mic.timestamp(after), here.Add(after+15*time.Millisecond))
		if skew := a.Sub(b).Abs(); skew > 2*time.Millisecond {
			t.Errorf("after %v sound and pictures are %v apart", after, skew)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for _, want := range []time.Time{
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 11, 22, 13, 41, 18, 500_000_000, time.UTC),
		time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC),
		time.Date(2036, 2, 7, 6, 28, 16, 250_000_000, time.UTC), // the era begins
		time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got := Time(ntp(want)); got.Sub(want).Abs() > time.Nanosecond {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// FuzzClock lets anybody say anything: nothing may fail, and the time of what arrives now stays within what was said.
func FuzzClock(f *testing.F) {
	f.Add(uint32(0xffffffff), uint32(0), ntp(there), uint64(0), int64(time.Second))
	f.Add(uint32(5), uint32(1<<31), uint64(1), ^uint64(0), int64(-time.Hour))
	f.Fuzz(func(t *testing.T, a, b uint32, report, absolute uint64, later int64) {
		c := New(video)
		arrival := here
		for _, timestamp := range []uint32{a, b, a + 3000, b + 3000, a, b} {
			arrival = arrival.Add(time.Duration(later % int64(time.Hour)))
			c.Report(media.SenderReport{RTPTimestamp: timestamp - 1, NTP: report}, arrival)
			c.Absolute(absolute, timestamp+1)
			at, quality := c.At(timestamp, arrival)
			switch {
			case quality == media.ClockUnknown, quality == media.ClockSenderReport && report == 0, quality == media.ClockAbsCapture && absolute == 0:
				t.Fatalf("%v by %v, which nobody said", at, quality)
			case quality == media.ClockArrival && at.Sub(arrival).Abs() > 2*time.Hour:
				t.Fatalf("%v by arrival at %v", at, arrival)
			}
		}
	})
}
