package session

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

func send(t *testing.T, d *webrtc.DataChannel, b []byte) {
	t.Helper()
	if err := d.Send(b); err != nil {
		t.Fatal(err)
	}
}

func TestAPlainChannelGetsItsOutcomesItself(t *testing.T) {
	r := newRig(t, nil)
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) {
		var err error
		if d, err = c.pc.CreateDataChannel("mlDataChannel", nil); err != nil {
			t.Fatal(err)
		}
		got = collect(t, d)
	})
	opened(t, d)
	for i := range 3 {
		send(t, d, jpeg(1000))
		o := outcome(t, got).Outcome
		if o.Result == nil || o.Stream != "mlDataChannel" || o.Sequence != uint32(i+1) || o.Clock != "ARRIVAL" || o.RtpTimestamp != nil {
			t.Errorf("message %d: %+v", i, o)
		}
	}
	send(t, d, []byte("no picture at all"))
	if o := outcome(t, got).Outcome; o.Error == nil || o.Error.Code != "UNSUPPORTED" {
		t.Errorf("a message that is no picture: %+v", o)
	}
	c.session.Close("test")
	if m := wait(t, got, "summary"); m.Summary == nil {
		t.Errorf("instead of a summary: %+v", m)
	}
	if n := checkCounts(t, c.session)["mlDataChannel"]; n.Received != 4 || n.Models[0].Results != 3 {
		t.Errorf("counts: %+v", n)
	}
}

func TestTheControlChannelCarriesEverything(t *testing.T) {
	r := newRig(t, nil)
	var frames, control *webrtc.DataChannel
	var own, all <-chan message
	c := r.connect(func(c *client) {
		control, all = c.channel("", controlProtocol)
	})
	opened(t, control)
	frames, own = c.channel("pictures", "image/jpeg;model=faces")
	opened(t, frames)
	for range 3 {
		send(t, frames, jpeg(100))
		outcome(t, all)
	}
	c.session.Close("test")
	if len(own) != 0 {
		t.Errorf("the channel of frames got %d messages besides", len(own))
	}
}

func TestAPingIsAnsweredOnItsChannel(t *testing.T) {
	r := newRig(t, nil)
	var one, other *webrtc.DataChannel
	var own, others <-chan message
	r.connect(func(c *client) {
		one, own = c.channel("", controlProtocol)
		other, others = c.channel("", controlProtocol)
	})
	opened(t, one)
	opened(t, other)
	for _, text := range []string{`{"ping":`, `{"ping":{"id":-1}}`, `{"pong":{"id":1}}`, `{"ping":{"id":4294967295}}`, `{"ping":{}}`} {
		if err := one.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []uint32{1<<32 - 1, 0} {
		if answer := wait(t, own, "answer"); answer.Pong == nil || answer.Pong.ID != want {
			t.Errorf("the ping %d is answered with %+v", want, answer)
		}
	}
	if n := len(others); n != 0 {
		t.Errorf("the other channel got %d messages", n)
	}
}

func TestWhenTheControlChannelClosesTheOthersTakeOver(t *testing.T) {
	r := newRig(t, nil)
	var frames, control *webrtc.DataChannel
	var own, all <-chan message
	c := r.connect(func(c *client) { control, all = c.channel("", controlProtocol) })
	opened(t, control)
	frames, own = c.channel("pictures", "")
	opened(t, frames)
	send(t, frames, jpeg(100))
	outcome(t, all)
	if err := control.Close(); err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for limit := time.After(soon); ; {
		select {
		case m := <-own:
			if m.Outcome != nil {
				c.session.Close("test")
				return
			}
		case <-again.C:
			send(t, frames, jpeg(100))
		case <-limit:
			t.Fatal("no outcome on the channel of frames")
		}
	}
}

func TestTheEdgeOpensAChannelWhereTheClientHasNone(t *testing.T) {
	r := newRig(t, nil)
	var cam *camera
	got := make(chan (<-chan message), 1)
	c := r.connect(func(c *client) {
		cam = c.camera("{0b5e5cf2-6d14-4a0d-9a5c-1c9b62f3a111}")
		yes, id := true, uint16(7)
		if _, err := c.pc.CreateDataChannel("unseen", &webrtc.DataChannelInit{Negotiated: &yes, ID: &id}); err != nil {
			t.Fatal(err)
		}
		c.pc.OnDataChannel(func(d *webrtc.DataChannel) {
			if d.Label() != "sluice" || d.Protocol() != controlProtocol || !d.Ordered() {
				t.Errorf("the edge opened %q with protocol %q, ordered %v", d.Label(), d.Protocol(), d.Ordered())
			}
			got <- collect(t, d)
		})
	})
	cam.send(true, false)
	messages := wait(t, got, "channel from the edge")
	// What happened before the channel was there is told too.
	if o := outcome(t, messages).Outcome; o.Result == nil || o.Stream != "video" || o.Sequence != 1 {
		t.Errorf("outcome: %+v", o)
	}
	c.session.Close("test")
	for m := range messages {
		if m.Summary != nil {
			break
		}
	}
}

func TestTheEdgesChannelTakesNoneOfTheClients(t *testing.T) {
	r := newRig(t, nil)
	var cam *camera
	own := make(chan struct{})
	c := r.connect(func(c *client) {
		cam = c.camera("camera")
		c.channel("0", "")
		c.pc.OnDataChannel(func(*webrtc.DataChannel) { close(own) })
	})
	cam.send(true, false)
	wait(t, own, "channel from the edge")
	for i := range 7 {
		d, got := c.channel(strconv.Itoa(i+1), "")
		opened(t, d)
		send(t, d, jpeg(10))
		outcome(t, got)
	}
}

func TestMessagesInChunksAndTooLarge(t *testing.T) {
	r := newRig(t, func(d *Deps) { d.Limits.Message = 1 << 20 })
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("big", "image/jpeg") })
	opened(t, d)
	whole := jpeg(500_000)
	for i := 999; i >= 0; i-- { // in any order
		whole[i+4] = byte(i)
	}
	for i := range 10 {
		at := (i + 3) % 10
		send(t, d, chunk(42, uint32(at), 10, whole[at*50_000:(at+1)*50_000]))
	}
	if o := outcome(t, got).Outcome; o.Result == nil {
		t.Errorf("in chunks: %+v", o)
	}
	r.decoders[0].mu.Lock()
	if u := r.decoders[0].units[0].Unit; string(u.Data) != string(whole) || u.Codec != media.JPEG {
		t.Errorf("the decoder got %d bytes of %v, not what was sent", len(u.Data), u.Codec)
	}
	r.decoders[0].mu.Unlock()

	for i := range 11 { // more than the limit together
		send(t, d, chunk(43, uint32(i), 11, jpeg(100_000)))
	}
	if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "TOO_LARGE" {
		t.Errorf("too large in chunks: %+v", o)
	}
	send(t, d, jpeg(10)) // the channel survives
	if o := outcome(t, got).Outcome; o.Result == nil || o.Sequence != 3 {
		t.Errorf("afterwards: %+v", o)
	}
	send(t, d, chunk(44, 5, 3, nil)) // an index beyond the count
	if o := outcome(t, got).Outcome; o.Error == nil || o.Error.Code != "DECODER" {
		t.Errorf("malformed chunk: %+v", o)
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}

func TestAMessageBeyondWhatTheEdgeAnnouncedIsDroppedAndTheChannelSurvives(t *testing.T) {
	r := newRig(t, nil)
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.newClient(func(c *client) { d, got = c.channel("", "") })
	session, answer, err := r.manager.Create(t.Context(), Request{Offer: c.offer()})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer, "a=max-message-size:262144\r\n") {
		t.Errorf("the answer does not announce 256 KiB")
	}
	c.accept(strings.Replace(answer, "a=max-message-size:262144", "a=max-message-size:9999999", 1))
	opened(t, d)
	send(t, d, jpeg(256<<10))
	if o := outcome(t, got).Outcome; o.Result == nil || o.Stream != "messages" {
		t.Errorf("256 KiB whole: %+v", o)
	}
	send(t, d, jpeg(1<<20))
	if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "TOO_LARGE" {
		t.Errorf("1 MiB whole: %+v", o)
	}
	send(t, d, jpeg(20))
	if o := outcome(t, got).Outcome; o.Result == nil {
		t.Errorf("afterwards: %+v", o)
	}
	session.Close("test")
	checkCounts(t, session)
}

func TestWhatTheUplinkSendsWhileAStreamEndsCounts(t *testing.T) {
	r := newRig(t, nil)
	held := make(chan struct{})
	r.holds = func() { close(held) }
	r.forget = func(u *fakeUplink) {
		u.handler.Sent("m", 1, []string{"faces"}, "a router")
		u.handler.Outcome(media.Outcome{Stream: "m", Sequence: 1, Model: "faces", Result: &media.Result{}})
	}
	var d *webrtc.DataChannel
	c := r.connect(func(c *client) { d, _ = c.channel("m", "") })
	opened(t, d)
	send(t, d, jpeg(10))
	wait(t, held, "frame at the uplink")
	c.session.Close("test")
	if n := checkCounts(t, c.session)["m"].Models[0]; n.Results != 1 || n.Late != 0 {
		t.Errorf("counts: %+v", n)
	}
}

func TestTheNewestMessageWins(t *testing.T) {
	r := newRig(t, nil)
	entered, proceed := make(chan struct{}, 10), make(chan struct{})
	r.decode = func(decoder.Request) ([]decoder.Picture, error) {
		entered <- struct{}{}
		<-proceed
		return nil, &decoder.Error{Code: media.DecoderError}
	}
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("m", "") })
	opened(t, d)
	send(t, d, jpeg(10))
	wait(t, entered, "first message in the decoder")
	for range 3 {
		send(t, d, jpeg(10))
	}
	for i := range 2 { // 2 and 3 make way for 4 while 1 is being decoded
		if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "SUPERSEDED" || o.Sequence != uint32(i+2) {
			t.Errorf("while the decoder is busy: %+v", o)
		}
	}
	close(proceed)
	for _, sequence := range []uint32{1, 4} {
		if o := outcome(t, got).Outcome; o.Error == nil || o.Error.Code != "DECODER" || o.Sequence != sequence {
			t.Errorf("unit %d: %+v", sequence, o)
		}
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}

func TestRateLimit(t *testing.T) {
	r := newRig(t, func(d *Deps) { d.Limits.Bitrate, d.Limits.Message = 8_000, 10_000 })
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("m", "") })
	opened(t, d)
	send(t, d, jpeg(9_000))
	if o := outcome(t, got).Outcome; o.Result == nil {
		t.Errorf("within the limit: %+v", o)
	}
	send(t, d, jpeg(9_000))
	if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "RATE_LIMITED" {
		t.Errorf("beyond the limit: %+v", o)
	}
	c.session.Close("test")
	checkCounts(t, c.session)
}

func TestWithoutARouterEveryFrameSaysSo(t *testing.T) {
	r := newRig(t, nil)
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("m", "") })
	opened(t, d)
	r.uplinks[0].mu.Lock()
	r.uplinks[0].lost = true
	r.uplinks[0].mu.Unlock()
	send(t, d, jpeg(10))
	if o := outcome(t, got).Outcome; o.Drop == nil || o.Drop.Reason != "NO_ROUTER" {
		t.Errorf("without a router: %+v", o)
	}
	c.session.Close("test")
	checkCounts(t, c.session)
	if n := len(r.decoders[0].units); n != 0 {
		t.Errorf("%d pictures were decoded for nothing", n)
	}
}

func TestARouterThatNeverAnswersIsGivenUpAtTheDeadline(t *testing.T) {
	r := newRig(t, nil)
	deadline := 200 * time.Millisecond
	r.catalog = uplink.Catalog{Known: true, Models: []media.Model{{Name: "faces", InputID: 1, Deadline: deadline}}, Inputs: r.catalog.Inputs}
	r.answer = func(media.Frame, media.Due) (media.Outcome, bool) { return media.Outcome{}, false }
	var d *webrtc.DataChannel
	var got <-chan message
	c := r.connect(func(c *client) { d, got = c.channel("m", "") })
	opened(t, d)
	send(t, d, jpeg(10))
	o := outcome(t, got).Outcome
	if o.Error == nil || o.Error.Code != "ROUTER_LOST" {
		t.Errorf("without an answer: %+v", o)
	}
	if total := o.Timings["total"]; total < deadline.Seconds() || total > (deadline+time.Second).Seconds() {
		t.Errorf("given up after %v s, the deadline is %v", total, deadline)
	}
	// What comes later is thrown away.
	r.uplinks[0].handler.Outcome(media.Outcome{Stream: "m", Sequence: 1, Model: "faces", Result: &media.Result{}})
	c.session.Close("test")
	if n := checkCounts(t, c.session)["m"].Models[0]; n.Late != 1 || n.Errors[media.RouterLost] != 1 {
		t.Errorf("counts: %+v", n)
	}
}
