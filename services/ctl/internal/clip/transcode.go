package clip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// transcodeLimit bounds how much of a file is used and how long ffmpeg may take for it.
const transcodeLimit = 2 * time.Minute

// transcode turns any file that ffmpeg reads into VP8 as a browser would send it: a key frame a second, no lag, no alternate references.
func transcode(ctx context.Context, path string) (*Clip, error) {
	ctx, cancel := context.WithTimeout(ctx, transcodeLimit)
	defer cancel()
	//nolint:gosec // The path is the user's own argument and no shell reads it.
	command := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-i", path, "-an", "-t", "60",
		"-vf", "scale='min(1280,iw)':-2", "-c:v", "libvpx", "-b:v", "1600k", "-deadline", "realtime", "-cpu-used", "8", "-g", "30", "-auto-alt-ref", "0",
		"-f", "ivf", "pipe:1")
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	err := command.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w: neither IVF nor .h264 or .h265, and ffmpeg, which reads the rest, is not installed", ErrUnreadable)
	}
	if err != nil && bytes.Contains(complaints.Bytes(), []byte("does not contain any stream")) {
		return nil, fmt.Errorf("%w: there is no picture in it; sound is taken as WAV or as Ogg with Opus: ffmpeg -i FILE -c:a libopus sound.ogg", ErrUnreadable)
	}
	if err != nil {
		last := strings.TrimSpace(complaints.String())
		return nil, fmt.Errorf("%w: ffmpeg: %w: %s", ErrUnreadable, err, last[max(0, len(last)-200):])
	}
	return ReadIVF(&out)
}
