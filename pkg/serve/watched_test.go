package serve

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(-time.Hour)
	var w Watched
	check := func(when string, want, fails bool) {
		t.Helper()
		if got, err := w.Changed(link, ""); got != want || (err != nil) != fails {
			t.Errorf("%s: changed %v, error %v; want %v, %v", when, got, err, want, fails)
		}
	}
	check("at first", true, false)
	check("at rest", false, false)
	put("ab")
	check("another size", true, false)
	if err := os.Chtimes(file, written, written); err != nil {
		t.Fatal(err)
	}
	check("another time", true, false)
	check("at rest again", false, false)

	// As Kubernetes does it: the link leads to another file, of the same size and time.
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("cd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, written, written); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	check("another file", true, false)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	check("no file", false, true)
	check("still no file", false, true)
}
