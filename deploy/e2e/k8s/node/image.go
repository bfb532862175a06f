package node

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// WriteImage makes an image of one static program, which runs as nobody in particular, as an archive that containerd takes.
func WriteImage(t testing.TB, archive, name, program string) {
	t.Helper()
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	entry := "/" + filepath.Base(program)
	layer := pack(t, file{entry[1:], 0o755, binary})
	config := encode(t, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{entry}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	configName := digest(config) + ".json"
	manifest := encode(t, []map[string]any{{"Config": configName, "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	whole := pack(t, file{configName, 0o644, config}, file{"layer.tar", 0o644, layer}, file{"manifest.json", 0o644, manifest})
	if err := os.WriteFile(archive, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, f := range files {
		if err := writer.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// importImages gives containerd the node's own images and those of the test.
func (n *Node) importImages(t testing.TB, images []string) {
	t.Helper()
	for _, name := range []string{"pause", "coredns"} {
		archive := n.path(name + ".tar")
		WriteImage(t, archive, fmt.Sprintf("localhost/%s:test", name), n.program(name))
		images = append(images, archive)
	}
	ctr := []string{"--address", n.path("containerd.sock"), "--namespace", "k8s.io"}
	stack.Eventually(t, readyLimit, "containerd answers", func() error {
		_, err := stack.TryCommand(t, "", readyLimit, "ctr", append(ctr, "version")...)
		return err
	})
	for _, archive := range images {
		stack.Command(t, "", readyLimit, "ctr", append(ctr, "images", "import", archive)...)
	}
}
