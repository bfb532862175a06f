//go:build soak

package soak

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// footprint is what a process holds.
type footprint struct {
	Goroutines, Descriptors, SharedMemory, Children int
	Heap                                            float64 // MiB that live, after garbage collection
}

// What a process may hold beyond its base:
//   - goroutines and descriptors: a connection of the edge's pool to the router carries 200 calls; a second one, made at the peak, stays for some time. It costs each side one
//     descriptor and at most four goroutines. Nothing that belongs to a session fits in there: a session has more than twenty goroutines.
//   - heap: what lasts is counters by model, buffers that connections keep, and Go's own pools; a session that is not let go holds a quarter of a megabyte and more.
const (
	spareGoroutines  = 5
	spareDescriptors = 1
	spareHeap        = 4.0
)

// beyond tells what of a footprint lies above the base by more than may be; nil when nothing does.
func (f footprint) beyond(base footprint) error {
	switch {
	case f.Goroutines > base.Goroutines+spareGoroutines, f.Descriptors > base.Descriptors+spareDescriptors,
		f.SharedMemory > base.SharedMemory, f.Children > base.Children, f.Heap > base.Heap+spareHeap:
		return fmt.Errorf("it holds %+v, at first it held %+v", f, base)
	}
	return nil
}

// measure looks at a process with the admin address. full also collects its garbage and weighs what is left.
func measure(t *testing.T, p *stack.Process, admin string, full bool) footprint {
	t.Helper()
	f := footprint{Children: len(p.Children(t))}
	if full {
		for range 3 { // Pools are emptied by the second collection, finalizers run after the first.
			f.Heap = profileNumber(t, admin, "heap?gc=1&debug=1", `# HeapAlloc = (\d+)`) / (1 << 20)
		}
	}
	f.Goroutines = int(profileNumber(t, admin, "goroutine?debug=1", `goroutine profile: total (\d+)`))
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		f.Descriptors++
		if target, err := os.Readlink(link); err == nil && (strings.HasPrefix(target, "/memfd:") || strings.HasPrefix(target, "/dev/shm/")) {
			f.SharedMemory++
		}
	}
	return f
}

// profileNumber gives a number out of a profile.
func profileNumber(t *testing.T, admin, profile, pattern string) float64 {
	t.Helper()
	text := fetchProfile(t, admin, profile)
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in the profile %s", pattern, profile)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fetchProfile reads a profile over a connection of its own, which leaves nothing behind at the process that is measured.
func fetchProfile(t *testing.T, admin, profile string) string {
	t.Helper()
	web := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := web.Get("http://" + admin + "/debug/pprof/" + profile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
