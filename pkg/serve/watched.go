package serve

import (
	"os"
	"slices"
	"time"
)

// Watched tells when files have changed. Its zero value is ready. It must not be used concurrently.
type Watched struct {
	asked bool
	seen  []stamp
}

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
	inode    os.FileInfo // for os.SameFile: Kubernetes replaces a link, not the file
}

func (s stamp) same(other stamp) bool {
	return s.size == other.size && s.modified.Equal(other.modified) && os.SameFile(s.inode, other.inode)
}

// Changed tells whether any of the files is another than when it was last asked, which at first it is. Empty names are left out. It fails when one of the others is not there, and
// then remembers what it has seen before.
func (w *Watched) Changed(files ...string) (bool, error) {
	var seen []stamp
	for _, name := range files {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return false, err
		}
		seen = append(seen, stamp{modified: info.ModTime(), size: info.Size(), inode: info})
	}
	changed := !w.asked || !slices.EqualFunc(seen, w.seen, stamp.same)
	w.asked, w.seen = true, seen
	return changed, nil
}
