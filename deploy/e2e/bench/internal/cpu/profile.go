package cpu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/proc"
)

// profileLength is how long is sampled.
const profileLength = 5 * time.Second

// profile samples the edge and its decoders at work, apart from all measurements, and writes summaries. It gives the files' names.
func (w *workplace) profile(ctx context.Context) (files []string, err error) {
	s, err := startEdge(ctx, w, w.cfg.Codecs[0])
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }() //nolint:contextcheck // what runs is stopped also when ctx is what ended
	if err := s.add(ctx, w.cfg.Many); err != nil {
		return nil, err
	}
	if err := pass(ctx, settle); err != nil {
		return nil, err
	}
	w.say("profile: edge %d × %s", w.cfg.Many, w.cfg.Codecs[0])
	goProfile := filepath.Join(w.cfg.Native, "edge.pprof")
	if err := fetch(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.Admin, int(profileLength.Seconds())), goProfile); err != nil {
		return nil, err
	}
	top, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount", "60", goProfile).Output()
	if err != nil {
		return nil, fmt.Errorf("go tool pprof: %w", err)
	}
	summary := filepath.Join(w.cfg.Native, "edge.pprof.txt")
	if err := os.WriteFile(summary, top, 0o600); err != nil {
		return nil, err
	}
	files = append(files, summary)
	pids, err := proc.Children(s.PID())
	if err != nil {
		return nil, err
	}
	whole, err := w.perf(ctx, append(pids, s.PID()))
	if err != nil {
		w.say("profile: perf gives none: %v", err) // it is not allowed everywhere
		return files, nil
	}
	return append(files, whole), nil
}

// perf samples processes by the kernel's means, C code and the kernel included.
func (w *workplace) perf(ctx context.Context, pids []int) (file string, err error) {
	data := filepath.Join(w.dir, "perf.data")
	var list []string
	for _, pid := range pids {
		list = append(list, strconv.Itoa(pid))
	}
	record := []string{"record", "--freq", "199", "--output", data, "--pid", strings.Join(list, ","), "--", "sleep", strconv.Itoa(int(profileLength.Seconds()))}
	if out, err := exec.CommandContext(ctx, "perf", record...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("perf record: %w: %s", err, lastLine(out))
	}
	var summary []byte
	for _, by := range []string{"comm,dso", "comm,dso,symbol"} {
		out, err := exec.CommandContext(ctx, "perf", "report", "--input", data, "--stdio", "--sort", by, "--percent-limit", "0.3").Output()
		if err != nil {
			return "", fmt.Errorf("perf report: %w", err)
		}
		summary = append(summary, out...)
	}
	file = filepath.Join(w.cfg.Native, "edge.perf.txt")
	return file, os.WriteFile(file, summary, 0o600)
}

// fetch writes what an address gives to a file.
func fetch(ctx context.Context, url, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}
