package client

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
)

// ReadIVF gives the compressed pictures of an IVF file.
func ReadIVF(name string) (pictures [][]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	reader, _, err := ivfreader.NewWith(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for {
		picture, _, err := reader.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return pictures, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: picture %d: %w", name, len(pictures)+1, err)
		}
		pictures = append(pictures, picture)
	}
}
