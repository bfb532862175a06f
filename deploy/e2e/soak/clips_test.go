//go:build soak

package soak

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/deploy/e2e/client"
	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// The clips: small, with each picture's number drawn in, and two key frames a second for sessions to begin at.
const (
	clipFrames = 60
	clipGroup  = 15
	frameRate  = 30
	width      = 320
	height     = 180
)

// clip is a compressed film whose picture n has the number n drawn in.
type clip struct {
	codec    string // MIME type
	pictures [][]byte
}

// makeClips makes one clip for each video codec.
func makeClips(t *testing.T) []clip {
	t.Helper()
	from, err := os.Open(stack.Clip(t, "faces-360p30.y4m"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	common := []string{"-frames:v", fmt.Sprint(clipFrames), "-vf", fmt.Sprintf("scale=%d:%d", width, height), "-g", fmt.Sprint(clipGroup), "-keyint_min", fmt.Sprint(clipGroup), "-b:v", "800k"}
	arguments := []string{"-nostdin", "-loglevel", "error", "-f", "yuv4mpegpipe", "-i", "pipe:0"}
	for _, output := range [][]string{
		{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", path("vp8.ivf")},
		{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0", path("vp9.ivf")},
		{"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", path("av1.ivf")},
		{"-c:v", "libx264", "-profile:v", "baseline", "-tune", "zerolatency", "-x264-params", "slices=1:sliced-threads=0:aud=1:scenecut=0", path("clip.h264")},
	} {
		arguments = append(append(arguments, common...), output...)
	}
	command := exec.CommandContext(ctx, "ffmpeg", arguments...)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	command.Stderr = &complaints
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stamped := counter.Stamp(in, from) // ffmpeg hangs up when it has enough.
	_ = in.Close()
	if err := command.Wait(); err != nil {
		t.Fatalf("ffmpeg: %v, stamping: %v: %s", err, stamped, complaints.String())
	}
	return []clip{
		{webrtc.MimeTypeVP8, readIVF(t, path("vp8.ivf"))},
		{webrtc.MimeTypeVP9, readIVF(t, path("vp9.ivf"))},
		{webrtc.MimeTypeAV1, readIVF(t, path("av1.ivf"))},
		{webrtc.MimeTypeH264, readH264(t, path("clip.h264"))},
	}
}

func readIVF(t *testing.T, name string) [][]byte {
	t.Helper()
	pictures, err := client.ReadIVF(name)
	if err != nil {
		t.Fatal(err)
	}
	return checked(t, name, pictures)
}

// readH264 cuts a stream at its access unit delimiters.
func readH264(t *testing.T, name string) [][]byte {
	t.Helper()
	stream, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	delimiter := []byte{0, 0, 0, 1, 9}
	var pictures [][]byte
	for _, rest := range bytes.Split(stream, delimiter)[1:] {
		pictures = append(pictures, append(bytes.Clone(delimiter), rest...))
	}
	return checked(t, name, pictures)
}

func checked(t *testing.T, name string, pictures [][]byte) [][]byte {
	t.Helper()
	if len(pictures) != clipFrames {
		t.Fatalf("%s holds %d pictures, want %d", name, len(pictures), clipFrames)
	}
	return pictures
}
