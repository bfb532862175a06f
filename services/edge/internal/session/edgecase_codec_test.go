package session

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

// The tests of this file are the edge cases of what packets hold: other codecs, nonsense, streams that begin in the middle.

// nals sends a unit, each NAL unit in a packet of its own.
func (b *bench) nals(timestamp uint32, nals ...[]byte) {
	for i, nal := range nals {
		b.seq++
		b.packets <- peer.Packet{
			RTP: &rtp.Packet{
				Header:  rtp.Header{Version: 2, PayloadType: 102, SequenceNumber: b.seq, Timestamp: timestamp, SSRC: 5, Marker: i == len(nals)-1},
				Payload: nal,
			},
			Codec: media.H264, Arrival: time.Now(),
		}
	}
}

// asked gives how often a key frame was asked for.
func (b *bench) asked() int {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys)
}

// The shortest NAL units with the bits that matter.
func sps() []byte      { return []byte{0x67, 0x42} }
func pps() []byte      { return []byte{0x68, 0xce} }
func idr() []byte      { return []byte{0x65, 0x88} }
func slice() []byte    { return []byte{0x41, 0x9a} }
func recovery() []byte { return []byte{0x06, 0x06, 0x01, 0x64, 0x80} } // the pictures are right two frames later

func TestEdgeCase08ACodecSwitchGoesOnAtTheNextKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		b.frame(true, 20)
		b.frame(false, 20)
		b.expect(t, "VP8", "result", "result")
		if n := b.asked(); n != 0 {
			t.Errorf("%d key frames asked for before the switch", n)
		}
		b.nals(b.ts+3000, slice())
		b.nals(b.ts+6000, slice())
		b.expect(t, "H.264 without a key frame", "DAMAGED", "DAMAGED")
		if n := b.asked(); n != 1 {
			t.Errorf("%d key frames asked for at the switch", n)
		}
		b.nals(b.ts+9000, sps(), pps(), idr())
		b.nals(b.ts+12000, slice())
		b.expect(t, "H.264 from its key frame on", "result", "result")
		b.ts += 12000
		b.frame(false, 20)
		b.expect(t, "VP8 without a key frame", "DAMAGED")
		<-time.After(time.Second)
		if n := b.asked(); n != 2 {
			t.Errorf("%d key frames asked for after the second switch", n)
		}
		b.frame(true, 20)
		b.expect(t, "VP8 again", "result")
		want := []media.Codec{media.VP8, media.VP8, media.H264, media.H264, media.VP8}
		for i, u := range b.decoder.units {
			if i >= len(want) || u.Unit.Codec != want[i] {
				t.Errorf("unit %d for the decoder is %v", i, u.Unit.Codec)
			}
		}
		b.stop()
	})
}

// TestEdgeCase08PacketsThatCrossAtACodecSwitch has the last packet of the old codec come after the first ones of the new. They are taken in the
// order of sending, and nothing is lost.
func TestEdgeCase08PacketsThatCrossAtACodecSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		b.frame(true, 20)
		b.expect(t, "VP8", "result")
		b.seq++ // for the last one
		b.nals(b.ts+6000, sps(), pps(), idr())
		b.nals(b.ts+9000, slice())
		newest := b.seq
		b.seq -= 5
		b.frame(false, 20)
		b.seq = newest
		b.expect(t, "all of them", "result", "result", "result")
		if n := b.asked(); n != 0 {
			t.Errorf("%d key frames asked for", n)
		}
		for i, want := range []media.Codec{media.VP8, media.VP8, media.H264, media.H264} {
			if got := b.decoder.units[i].Unit.Codec; got != want {
				t.Errorf("unit %d for the decoder is %v, want %v", i, got, want)
			}
		}
		b.stop()
	})
}

// nonsense gives payloads that break their format.
func nonsense() [][]byte {
	return [][]byte{
		{},
		{0x80},             // VP8: descriptor cut off
		{0x90, 0x80, 0x80}, // picture id cut off
		{0x10, 0x00},       // a frame of one byte
		{0x10, 0x10, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, // key frame without its start code
		{0x7c, 0x05, 1, 2},                         // H.264: FU-A without a start
		{0x7c},                                     // FU-A cut off
		{0x78, 0xff, 0xff, 0x65},                   // STAP-A beyond its end
		{0x1f, 1, 2, 3},                            // NAL unit of no known type
		{0xff, 0xff, 0xff, 0xff},                   // AV1: W, Z and Y all set
	}
}

func TestEdgeCase21NonsenseIsDroppedAndTheSessionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, 20*time.Millisecond, 4)
		defer s.end()
		s.run(30, time.Second)
		s.nonsense = true
		for _, kind := range []uint8{s.raw.info.PayloadType, h264Type(t, s), 111, 13, 127} {
			for _, payload := range nonsense() {
				for _, again := range []bool{false, true} {
					if !again {
						s.seq++
					}
					s.ts += 3000
					s.raw.send(t, again, s.seq, s.ts, kind, payload)
				}
			}
		}
		garbage := []rtcp.RawPacket{
			{0x80, 200, 0, 0}, {0x81, 201, 0, 1, 0, 0, 0, 1}, {0x80, 207, 0, 1, 1, 2, 3, 4}, {0x8f, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1},
			{0x80, 200, 0xff, 0xff, 0, 0, 0, 1}, {0x9f, 203, 0, 1, 0, 0, 0, 1},
		}
		for _, g := range garbage {
			if err := s.client.pc.WriteRTCP([]rtcp.Packet{&g}); err != nil {
				t.Logf("not even sent: % x: %v", []byte(g), err)
			}
		}
		<-time.After(100 * time.Millisecond)
		// Retransmissions may claim any sequence number, so the stream can look as if it had jumped ahead; then it takes a while to catch up.
		s.run(30, 6*time.Second)
		if s.session.State() != Connected {
			t.Fatalf("the session is %q", s.session.State())
		}
		for n := s.number - 30; n <= s.number; n++ {
			if _, ok := s.lag(n); !ok {
				t.Errorf("frame %d, seconds after the nonsense, was not decoded", n)
			}
		}
		s.session.Close("test")
		if c := checkCounts(t, s.session)["camera"]; c.Models[0].Drops[media.Damaged] == 0 && c.Models[0].Errors[media.DecoderError] == 0 {
			t.Errorf("the nonsense was not counted: %+v", c)
		}
	})
}

// h264Type gives the payload type that stands for H.264 in a showing.
func h264Type(t *testing.T, s *showing) uint8 {
	t.Helper()
	for _, c := range s.client.pc.GetSenders()[0].GetParameters().Codecs {
		if c.MimeType == "video/H264" {
			return uint8(c.PayloadType)
		}
	}
	t.Fatal("H.264 was not agreed on")
	return 0
}

func TestEdgeCase22IntraRefreshStartsAtARecoveryPoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		b.nals(3000, slice())
		b.nals(6000, sps(), pps(), recovery(), slice())
		b.nals(9000, slice())
		b.nals(12000, slice())
		b.nals(15000, slice())
		b.expect(t, "no key frame ever", "DAMAGED", "DAMAGED", "DAMAGED", "result", "result")
		if n := len(b.decoder.units); n != 4 {
			t.Errorf("%d units for the decoder, want all from the recovery point on", n)
		}
		b.stop()
	})
}

func TestEdgeCase22AStreamJoinedLateWaitsForItsParameterSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		for n := range uint32(10) {
			b.nals(3000*(n+1), idr()) // they were in the first second
			<-time.After(100 * time.Millisecond)
			b.expect(t, "a key frame without parameter sets", "DAMAGED")
		}
		if n := b.asked(); n < 1 || n > 2 {
			t.Errorf("%d key frames asked for in a second", n)
		}
		b.nals(60000, sps(), pps(), idr())
		b.nals(63000, idr())
		b.expect(t, "with them", "result", "result")
		b.stop()
	})
}

func TestEdgeCase22ReorderedPicturesKeepTheirTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, faces(), 1e9)
		picture := func(tag uint64) decoder.Picture {
			return decoder.Picture{Tag: tag, Payload: []byte{byte(tag)}, Release: func() {}}
		}
		b.decoder.decode = func(q decoder.Request) ([]decoder.Picture, error) {
			switch q.Tag { // decoding order I P B P B, shown as I B P B P
			case 2, 4:
				return nil, nil
			case 3, 5:
				return []decoder.Picture{picture(q.Tag), picture(q.Tag - 1)}, nil
			default:
				return []decoder.Picture{picture(q.Tag)}, nil
			}
		}
		timestamps := []uint32{1<<32 - 3000, 3000, 0, 9000, 6000} // wrap
		b.nals(timestamps[0], sps(), pps(), idr())
		for _, ts := range timestamps[1:] {
			b.nals(ts, slice())
		}
		synctest.Wait()
		got := ""
		for range timestamps {
			o := <-b.outcomes
			got += fmt.Sprintf("%d@%d ", o.Sequence, o.RTP.Timestamp)
			if want := timestamps[o.Sequence-1]; o.RTP.Timestamp != want {
				t.Errorf("unit %d has timestamp %d, want %d", o.Sequence, o.RTP.Timestamp, want)
			}
		}
		for _, f := range b.uplink.frames {
			if f.RTP.Timestamp != timestamps[f.Sequence-1] {
				t.Errorf("frame %d has timestamp %d; outcomes %s", f.Sequence, f.RTP.Timestamp, got)
			}
		}
		b.stop()
	})
}
