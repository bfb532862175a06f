// Package onnx runs models in this process on ONNX Runtime's CPU provider, through its shared library.
package onnx

import (
	"errors"
	"fmt"
	"os"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Runtime is the loaded shared library. There can be only one in a process, as the library's environment is the process's own.
type Runtime struct{}

// Load loads the shared library: a path, or a name that the dynamic linker looks for (libonnxruntime.so). It fails while another Runtime is
// open.
func Load(library string) (*Runtime, error) {
	if ort.IsInitialized() {
		return nil, errors.New("the ONNX Runtime is loaded already: a process can have only one")
	}
	if strings.Contains(library, "/") {
		if _, err := os.Stat(library); err != nil {
			return nil, fmt.Errorf("the ONNX Runtime's shared library: %w; `make models` fetches it into .cache/onnxruntime", err)
		}
	}
	ort.SetSharedLibraryPath(library)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return nil, fmt.Errorf("the ONNX Runtime cannot be loaded from %s: %w", library, err)
	}
	return &Runtime{}, nil
}

// Version gives the library's version.
func (*Runtime) Version() string { return ort.GetVersion() }

// Close unloads the library. Every driver must be closed before.
func (*Runtime) Close() error { return ort.DestroyEnvironment() }
