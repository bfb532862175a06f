package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/transport"
)

func runTransport(ctx context.Context, root string, o options) (missed int, err error) {
	cfg := transport.Config{Root: root, Files: filepath.Join(root, ".build", "bench"), Rounds: 5, Frames: 2000, Progress: os.Stderr}
	if o.quick {
		cfg.Rounds, cfg.Frames = 1, 200
	}
	if err := os.MkdirAll(cfg.Files, 0o750); err != nil {
		return 0, err
	}
	return reported(cfg.Files, "transport.txt", func(to io.Writer) (int, error) {
		cfg.Report = to
		return transport.Run(ctx, cfg)
	})
}
