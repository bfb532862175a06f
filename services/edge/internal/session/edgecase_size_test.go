package session

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/media"
)

// sizes is a run of pictures of one size.
type sizes struct{ width, height, pictures int }

// TestEdgeCase06AnySizeAtAnyTime changes the size of the pictures in mid-stream, to an odd one too. Every frame tells the size of its own picture,
// so that boxes lie where they belong, and no picture is lost.
func TestEdgeCase06AnySizeAtAnyTime(t *testing.T) {
	program := buildDecoder(t)
	changes := []sizes{{320, 180, 3}, {853, 479, 3}, {161, 91, 3}, {640, 360, 3}}
	even := []sizes{{320, 180, 3}, {854, 480, 3}, {162, 90, 3}, {640, 360, 3}}
	for _, c := range []struct {
		name    string
		codec   media.Codec
		encoder string // of each size, with a key frame at the start
		payload rtp.Payloader
		sizes   []sizes
	}{
		{"VP8", media.VP8, "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 600k", &codecs.VP8Payloader{EnablePictureID: true}, changes},
		{"VP9", media.VP9, vpx9, new(codecs.VP9Payloader), changes},
		{"AV1", media.AV1, aomAV1, new(codecs.AV1Payloader), changes},
		{"H.264", media.H264, x264 + "bframes=0", new(codecs.H264Payloader), even},
		{"H.265", media.H265, x265 + "bframes=0", new(codecs.H265Payloader), even},
	} {
		t.Run(c.name, func(t *testing.T) {
			var units []encoded
			for i, size := range c.sizes {
				for _, u := range shootSize(t, c.codec, c.encoder, size) {
					u.shown += 3 * i
					units = append(units, u)
				}
			}
			s := newScreening(t, program, c.codec, packed(c.payload), 0)
			s.send(units, nil)
			s.checkSizes(c.sizes)
		})
	}
	// The sizes of this one change between key frames: a picture refers to one of another size (services/edge/internal/decoder/testdata/vp9.c).
	t.Run("VP9 between key frames", func(t *testing.T) {
		s := newScreening(t, program, media.VP9, packed(new(codecs.VP9Payloader)), 0)
		s.send(ivfFrames(t, "../decoder/testdata/vp9-resized.ivf"), nil)
		s.checkSizes([]sizes{{320, 180, 3}, {240, 134, 3}, {213, 119, 3}, {320, 180, 3}})
	})
}

// shootSize has an encoder make a few units of a size.
func shootSize(t *testing.T, codec media.Codec, encoder string, size sizes) []encoded {
	t.Helper()
	container := "ivf"
	if codec == media.H264 || codec == media.H265 {
		container = "matroska"
	}
	file := filepath.Join(t.TempDir(), "clip."+container)
	source := fmt.Sprintf("-f lavfi -i testsrc2=size=640x360:rate=30 -frames:v %d -vf scale=%d:%d,format=yuv420p ", size.pictures, size.width, size.height)
	tool(t, "ffmpeg", source+encoder+" -f "+container+" "+file)
	if container == "ivf" {
		return ivfFrames(t, file)
	}
	return nalFrames(t, codec, file)
}

// checkSizes demands a result of every unit, with the size of its picture.
func (s *screening) checkSizes(want []sizes) {
	s.t.Helper()
	n := 0
	for _, size := range want {
		for range size.pictures {
			if got := s.placed[stampOf(n)]; got != [2]int{size.width, size.height} {
				s.t.Errorf("picture %d is of %v, want %d×%d", n, got, size.width, size.height)
			}
			n++
		}
	}
	if got := run(s.words); got != fmt.Sprintf("result %d", n) || s.requests > 0 {
		s.t.Errorf("%s, %d key frames asked for; want %d results", got, s.requests, n)
	}
}
