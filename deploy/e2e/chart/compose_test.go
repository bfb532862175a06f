//go:build chart

package chart

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// TestCompose reads the compose file as docker compose does, and looks whether what it mounts is there and whether the services know each other's names.
func TestCompose(t *testing.T) {
	folder := filepath.Join(stack.Root(t), "deploy", "compose")
	for _, files := range [][]string{{"compose.yaml"}, {"compose.yaml", "gpu.yaml"}} {
		t.Run(strings.Join(files, "+"), func(t *testing.T) {
			project := load(t, folder, files)
			published := make(map[string]string)
			for name, service := range project.Services {
				for _, mount := range service.Volumes {
					if _, err := os.Stat(mount.Source); mount.Type == types.VolumeTypeBind && err != nil {
						t.Errorf("%s mounts what is not there: %v", name, err)
					}
					if name == "router" && mount.Source != folder {
						t.Errorf("the router sees %s alone, and nothing of the file that takes its place", mount.Source)
					}
					for _, other := range service.Volumes {
						if other.ReadOnly && strings.HasPrefix(mount.Target, other.Target+"/") {
							t.Errorf("%s mounts %s into %s, where nothing can be made to mount it at", name, mount.Target, other.Target)
						}
					}
				}
				for _, port := range service.Ports {
					key := port.Protocol + " " + port.Published
					if other := published[key]; other != "" {
						t.Errorf("%s and %s both publish %s", name, other, key)
					}
					published[key] = name
				}
			}
			target := strings.TrimPrefix(*project.Services["edge"].Environment["SLUICE_ROUTER_TARGET"], "dns:///")
			if host, port, err := net.SplitHostPort(target); err != nil || host != "router" || port != "50051" {
				t.Errorf("the edge looks for routers at %s: %v", target, err)
			}
			if got := *project.Services["edge"].Environment["SLUICE_ICE_ADDRESSES"]; got != "192.0.2.7" {
				t.Errorf("the edge tells clients %s", got)
			}
			for _, name := range []string{"edge", "router"} {
				if s := project.Services[name]; !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" {
					t.Errorf("%s is not confined: read-only %v, without %v", name, s.ReadOnly, s.CapDrop)
				}
			}
		})
	}
}

func load(t *testing.T, folder string, files []string) *types.Project {
	t.Helper()
	paths := make([]string, len(files))
	for i, file := range files {
		paths[i] = filepath.Join(folder, file)
	}
	options, err := cli.NewProjectOptions(paths, cli.WithEnv([]string{"SLUICE_ADDRESS=192.0.2.7"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}
