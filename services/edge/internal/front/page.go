package front

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/services/edge/web"
)

// page holds the files that browsers get, read once. It is immutable.
type page struct {
	files map[string]file // by URL path
}

type file struct {
	content     []byte
	contentType string
	etag        string
}

// fileTypes are the types of the files that are served. The operating system's table is not asked: it calls .ts a video.
var fileTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".ts":   "text/plain; charset=utf-8",
	".svg":  "image/svg+xml",
}

// loadPage reads all files. index.html stands for its directory, and any other page goes by its name without .html too.
func loadPage(files fs.FS) (*page, error) {
	p := &page{files: make(map[string]file)}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		contentType, ok := fileTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s has no known type", name)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		f := file{content: content, contentType: contentType, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
		p.files["/"+name] = f
		if directory, ok := strings.CutSuffix("/"+name, "index.html"); ok {
			p.files[directory] = f
		} else if bare, ok := strings.CutSuffix("/"+name, ".html"); ok {
			p.files[bare] = f
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("front: page: %w", err)
	}
	return p, nil
}

// static serves the page and the SDK. They change with the edge's version only, so browsers ask with the ETag and mostly get 304.
func (f *Front) static(w http.ResponseWriter, r *http.Request, _ principal) error {
	found, ok := f.page.files[r.URL.Path]
	if !ok {
		return refuse(http.StatusNotFound, codeNotFound, "nothing is at this path")
	}
	h := w.Header()
	h.Set("Content-Type", found.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", found.etag)
	h.Set("Content-Security-Policy", web.ContentSecurityPolicy)
	h.Set("Permissions-Policy", web.PermissionsPolicy)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(found.content))
	return nil
}
