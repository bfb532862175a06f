package session

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5/vnet"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// The tests of this file are the edge cases of what packets hold, through the whole way from the network.

// twoEncoders is a client that changes its encoder: a film in VP8, and pictures in H.264 that are none but for their headers.
type twoEncoders struct {
	*showing
	t    *testing.T
	kind uint8 // H.264's

	mu   sync.Mutex
	seen []string // H.264 units that were decoded
}

func newTwoEncoders(t *testing.T) *twoEncoders {
	t.Helper()
	e := &twoEncoders{showing: begin(t, 20*time.Millisecond, 4), t: t}
	e.kind = h264Type(t, e.showing)
	d := e.rig.decoders[0]
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decode = func(q decoder.Request) ([]decoder.Picture, error) {
		if q.Unit.Codec == media.VP8 {
			return e.decode(q)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.seen = append(e.seen, fmt.Sprintf("%v key=%v", q.Unit.Codec, q.Unit.Key))
		return nil, nil
	}
	return e
}

// h264 sends pictures in H.264 for a second: key frames when they are asked for.
func (e *twoEncoders) h264() {
	e.t.Helper()
	for range 30 {
		e.film.mu.Lock()
		key := e.keyAsked
		e.keyAsked = false
		e.film.mu.Unlock()
		payload := slice()
		if key {
			payload = []byte{0x18}
			for _, nal := range [][]byte{sps(), pps(), idr()} {
				payload = append(append(payload, 0, byte(len(nal))), nal...)
			}
		}
		e.seq++
		e.ts += 3000
		e.raw.send(e.t, false, e.seq, e.ts, e.kind, payload)
		<-time.After(time.Second / 30)
	}
}

func TestEdgeCase08ThePayloadTypeSwitchesInMidStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newTwoEncoders(t)
		defer e.end()
		e.run(30, time.Second)
		if n := len(e.pictureLosses()); n != 0 || e.decoded() != 30 {
			t.Errorf("before the switch: %d of 30 frames, %d key frames asked for", e.decoded(), n)
		}
		e.h264()
		e.mu.Lock()
		if len(e.seen) < 25 || e.seen[0] != "H264 key=true" || e.seen[1] != "H264 key=false" {
			t.Errorf("%d H.264 units were decoded, first %v", len(e.seen), e.seen[:min(2, len(e.seen))])
		}
		e.mu.Unlock()
		if n := len(e.pictureLosses()); n != 1 {
			t.Errorf("%d key frames asked for at the switch", n)
		}
		back := e.number
		e.run(30, time.Second)
		if n := len(e.pictureLosses()); n != 2 || e.keys != 2 {
			t.Errorf("%d key frames asked for after two switches, %d decoded", n, e.keys)
		}
		if lag, ok := e.lag(e.number); !ok || lag > 30*time.Millisecond {
			t.Errorf("the last frame was decoded %v after %v", ok, lag)
		}
		if got := e.decoded() - 30; got < 25 {
			t.Errorf("%d of %d frames decoded after the switch back", got, e.number-back)
		}
		if all, _, _ := e.requests(); all != 0 {
			t.Errorf("%d packets asked for that were never lost", all)
		}
		e.session.Close("test")
		checkCounts(t, e.session)
	})
}

// oddHeaders gives headers that are cut off, overlap or lie, with payloads that do.
func oddHeaders() map[string]func(*rtp.Header) []byte {
	extended := func(profile uint16, body []byte) func(*rtp.Header) []byte {
		return func(h *rtp.Header) []byte {
			_ = h.SetExtension(0, body)
			h.ExtensionProfile = profile
			return []byte{0x10, 0x01, 0, 0}
		}
	}
	return map[string]func(*rtp.Header) []byte{
		"one-byte extension beyond its end": extended(0xbede, []byte{0x1f, 1, 2, 3}),
		"one-byte extension of id 15":       extended(0xbede, []byte{0xf3, 1, 2, 3}),
		"two-byte extension beyond its end": extended(0x1000, []byte{1, 0xff, 2, 3}),
		"extension of no known profile":     extended(0x4242, []byte{9, 9, 9, 9}),
		"empty extension":                   extended(0xbede, nil),
		"fifteen contributing sources":      func(h *rtp.Header) []byte { h.CSRC = make([]uint32, 15); return []byte{0x10, 0x01, 0, 0} },
		"more padding than payload":         func(h *rtp.Header) []byte { h.Padding, h.PaddingSize = true, 0; return []byte{0x10, 0x01, 0, 0xff} },
		"padding of zero bytes":             func(h *rtp.Header) []byte { h.Padding, h.PaddingSize = true, 0; return []byte{0x10, 0x01, 0, 0} },
		"padding and nothing else":          func(h *rtp.Header) []byte { h.Padding, h.PaddingSize = true, 0; return []byte{0, 0, 0, 4} },
		"nothing at all":                    func(*rtp.Header) []byte { return nil },
	}
}

func TestEdgeCase21OddHeadersAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, 20*time.Millisecond, 4)
		defer s.end()
		s.run(30, time.Second)
		s.nonsense = true
		for name, odd := range oddHeaders() {
			for _, again := range []bool{false, true} { // as media, and as retransmissions, which are shorter than their header
				header := &rtp.Header{Version: 2, Timestamp: s.ts, PayloadType: s.raw.info.PayloadType, Marker: true}
				if again {
					header.SSRC, header.PayloadType = s.raw.info.SSRCRetransmission, s.raw.info.PayloadTypeRetransmission
				}
				s.seq++
				header.SequenceNumber = s.seq
				if err := s.raw.write(header, odd(header)); err != nil {
					t.Logf("%s: not even sent: %v", name, err)
				}
			}
		}
		<-time.After(100 * time.Millisecond)
		s.run(30, 6*time.Second)
		s.goesOn(t)
	})
}

// Bytes that were changed on the way are no packets of the client's: they are lost, and repaired as lost ones are.
func TestEdgeCase21ForgeriesAreLossesAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, 20*time.Millisecond, 4)
		defer s.end()
		s.run(30, time.Second)
		forged := 0
		quiet := false
		s.network.router.AddChunkFilter(func(c vnet.Chunk) bool { // called from one goroutine
			b := c.UserData()
			if quiet || len(b) < 12 || b[0]>>6 != 2 || !fromClient(c) {
				return true
			}
			if forged++; forged%7 == 0 {
				switch forged / 7 % 4 {
				case 0:
					b[0] |= 0x1f // an extension and fifteen sources that are not there
				case 1:
					b[0] |= 0x20 // padding
				case 2:
					b[8] ^= 0xff // another source
				default:
					b[len(b)-1] ^= 0xff
				}
			}
			return true
		})
		s.run(30, 5*time.Second)
		synctest.Wait()
		quiet = true
		s.run(30, 2*time.Second)
		if n := s.decoded(); n < int(s.number)*9/10 {
			t.Errorf("%d of %d frames decoded", n, s.number)
		}
		s.goesOn(t)
	})
}

// goesOn ends a showing, whose last second must have been decoded whole.
func (s *showing) goesOn(t *testing.T) {
	t.Helper()
	if s.session.State() != Connected {
		t.Fatalf("the session is %q", s.session.State())
	}
	for n := s.number - 30; n <= s.number; n++ {
		before, _ := s.lag(n - 1)
		_, ok := s.lag(n)
		if !ok {
			t.Errorf("frame %d was not decoded, the one before after %v", n, before)
		}
	}
	s.session.Close("test")
	checkCounts(t, s.session)
}

// Two media descriptions claim one source: the offer is refused, for pion has a reader for each, and ends one of them.
func TestEdgeCase21OneSourceInTwoMediaDescriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetworkOver(t, 20*time.Millisecond)
		r := newRigOn(t, n.edge, nil)
		c := r.newClientOn(n.settings(), func(c *client) { c.camera("first"); c.camera("second") })
		senders := c.pc.GetSenders()
		offer := c.offer()
		source := func(i int) string { return fmt.Sprint(senders[i].GetParameters().Encodings[0].SSRC) }
		if !strings.Contains(offer, "a=ssrc:"+source(1)) {
			t.Fatal("the offer does not announce its sources")
		}
		offer = regexp.MustCompile(`\b`+source(1)+`\b`).ReplaceAllString(offer, source(0))
		session, answer, err := r.manager.Create(t.Context(), Request{Offer: offer})
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != CodeInvalidSDP {
			t.Errorf("got %v, want %s", err, CodeInvalidSDP)
		}
		if session != nil { // or its goroutines keep the test
			c.accept(answer)
			<-time.After(5 * time.Second)
			session.Close("test")
		}
		r.close()
		_ = c.pc.GracefulClose()
		_ = n.router.Stop()
	})
}
