package decoder_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/media"
)

// TestNoDamagedPictureAfterLoss loses packets of real streams. Every picture that comes out must be that of the same stream without loss.
func TestNoDamagedPictureAfterLoss(t *testing.T) {
	svc, err := os.ReadFile("testdata/vp9-svc.ivf")
	if err != nil {
		t.Fatal(err)
	}
	const source = "-f lavfi -i testsrc2=size=320x180:rate=30 -frames:v 90 -pix_fmt yuv420p "
	for _, c := range []struct {
		name     string
		codec    media.Codec
		frames   [][]byte
		payloads func([]byte) [][]byte
		share    float64 // of the packets
	}{
		{"VP9", media.VP9, ivfFrames(clip(t, source+realtimeVP9)), func(f []byte) [][]byte { return new(codecs.VP9Payloader).Payload(400, f) }, 0.02},
		{"AV1", media.AV1, ivfFrames(clip(t, source+realtimeAV1)), func(f []byte) [][]byte { return new(codecs.AV1Payloader).Payload(400, f) }, 0.02},
		{"VP9 with three spatial layers", media.VP9, ivfFrames(svc), svcPayloads(new(uint16)), 0.05},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := lossy(t, c.codec, c.frames, c.payloads, 0)
			if len(want) != len(c.frames) {
				t.Fatalf("%d pictures of %d frames without loss", len(want), len(c.frames))
			}
			got := lossy(t, c.codec, c.frames, c.payloads, c.share)
			if len(got) == len(want) || len(got) == 0 {
				t.Errorf("%d of %d pictures: the test shows nothing", len(got), len(want))
			}
			for stamp, picture := range got {
				if !bytes.Equal(picture, want[stamp]) {
					t.Errorf("frame %d differs from what it is without loss", stamp)
				}
			}
			t.Logf("%d of %d pictures", len(got), len(want))
		})
	}
}

// lossy sends frames with a share of the packets lost, and gives the pictures that come out, by timestamp.
func lossy(t *testing.T, codec media.Codec, frames [][]byte, payloads func([]byte) [][]byte, share float64) map[uint32][]byte {
	t.Helper()
	assembler, err := depacket.New(codec, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, gate, random, pictures := open(t, nil), new(depacket.Gate), rand.New(rand.NewPCG(3, 4)), map[uint32][]byte{}
	take := func(units []depacket.Unit) {
		for _, u := range units {
			if gate.Step(&u) == depacket.Refuse {
				continue
			}
			out, err := decode(d, 1, uint64(u.RTP.Timestamp), u.AccessUnit, native(320, 180))
			if err != nil {
				t.Fatalf("frame %d: %v", u.RTP.Timestamp, err)
			}
			for _, p := range out {
				pictures[uint32(p.Tag)] = bytes.Clone(p.Payload)
			}
			release(out)
		}
	}
	for i, frame := range frames {
		parts := payloads(frame)
		for n, part := range parts {
			if random.Float64() < share {
				take(assembler.Gap())
				continue
			}
			take(assembler.Push(&rtp.Packet{Header: rtp.Header{Timestamp: uint32(i), Marker: n == len(parts)-1}, Payload: part}, time.Now()))
		}
	}
	return pictures
}
