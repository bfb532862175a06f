//go:build chart

// Package chart checks what the Helm chart and the compose file say beyond what a schema can: that Services reach pods, that each edge's configuration
// and Service agree, that the services accept what they are configured with. `make lint-chart` renders the chart first, with each file of its ci folder.
package chart

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// Object is what all objects have.
type Object struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
}

// service is a Service.
type service struct {
	Object `yaml:",inline"`
	Spec   struct {
		Type     string            `yaml:"type"`
		Selector map[string]string `yaml:"selector"`
		Ports    []struct {
			Name       string `yaml:"name"`
			Protocol   string `yaml:"protocol"`
			Port       int    `yaml:"port"`
			TargetPort any    `yaml:"targetPort"` // a name or a number
			NodePort   int    `yaml:"nodePort"`
		} `yaml:"ports"`
	} `yaml:"spec"`
}

// workload is a Deployment or a StatefulSet.
type workload struct {
	Object `yaml:",inline"`
	Spec   struct {
		ServiceName string `yaml:"serviceName"`
		Template    struct {
			Metadata struct {
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"metadata"`
			Spec struct {
				Containers []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

// container is one container of a pod.
type container struct {
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
	} `yaml:"ports"`
}

// files is a ConfigMap or a Secret.
type files struct {
	Object     `yaml:",inline"`
	Data       map[string]string `yaml:"data"`
	StringData map[string]string `yaml:"stringData"`
}

// ingress is an Ingress.
type ingress struct {
	Object `yaml:",inline"`
	Spec   struct {
		TLS []struct {
			Hosts []string `yaml:"hosts"`
		} `yaml:"tls"`
	} `yaml:"spec"`
}

// policy is a NetworkPolicy.
type policy struct {
	Object `yaml:",inline"`
	Spec   struct {
		Egress []struct {
			Ports []struct {
				Port int `yaml:"port"`
			} `yaml:"ports"`
		} `yaml:"egress"`
	} `yaml:"spec"`
}

// rendered is what the chart made of one file of values.
type rendered struct {
	services  []service
	workloads []workload
	files     []files
	ingresses []ingress
	egress    map[string][]int // the ports that each NetworkPolicy lets calls out to
	kinds     map[string]int
}

// parse reads objects, separated as YAML documents are.
func parse(t *testing.T, text []byte) rendered {
	t.Helper()
	r := rendered{egress: make(map[string][]int), kinds: make(map[string]int)}
	for document := range bytes.SplitSeq(text, []byte("\n---")) {
		var o Object
		if err := yaml.Unmarshal(document, &o); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if o.Kind == "" {
			continue // nothing but a comment
		}
		r.kinds[o.Kind]++
		switch o.Kind {
		case "Service":
			r.services = append(r.services, decode[service](t, document))
		case "Deployment", "StatefulSet":
			r.workloads = append(r.workloads, decode[workload](t, document))
		case "ConfigMap", "Secret":
			r.files = append(r.files, decode[files](t, document))
		case "Ingress":
			r.ingresses = append(r.ingresses, decode[ingress](t, document))
		case "NetworkPolicy":
			p := decode[policy](t, document)
			for _, rule := range p.Spec.Egress {
				for _, port := range rule.Ports {
					r.egress[p.Metadata.Name] = append(r.egress[p.Metadata.Name], port.Port)
				}
			}
		}
	}
	return r
}

func decode[T any](t *testing.T, document []byte) T {
	t.Helper()
	var v T
	if err := yaml.Unmarshal(document, &v); err != nil {
		t.Fatalf("%v in:\n%s", err, document)
	}
	return v
}

// allRendered gives what `make lint-chart` rendered, by the names of the files of values.
func allRendered(t *testing.T) map[string]rendered {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(stack.Root(t), ".build", "chart", "*.yaml"))
	if err != nil || len(paths) < 8 {
		t.Fatalf("there are %d rendered files in .build/chart: run the tests by `make lint-chart`, which renders the chart", len(paths))
	}
	all := make(map[string]rendered)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".yaml")] = parse(t, text)
	}
	return all
}

// render gives what the chart makes of values, a YAML text, or why it refuses them.
func render(t *testing.T, values string) (rendered, error) {
	t.Helper()
	helm := cmp.Or(os.Getenv("HELM"), "helm")
	command := exec.CommandContext(t.Context(), helm, "template", "sluice", filepath.Join(stack.Root(t), "deploy", "helm", "sluice"), "--values", "-")
	command.Stdin = strings.NewReader(values)
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return rendered{}, errors.New(complaints.String())
	}
	if err != nil {
		t.Fatalf("%v: run the tests by `make lint-chart`, which builds helm", err)
	}
	return parse(t, out), nil
}

// mustRender is render for values that the chart must take.
func mustRender(t *testing.T, values string) rendered {
	t.Helper()
	r, err := render(t, values)
	if err != nil {
		t.Fatalf("with %s: %v", values, err)
	}
	return r
}

// workload gives the Deployment or StatefulSet whose name ends so.
func (r rendered) workload(t *testing.T, suffix string) workload {
	t.Helper()
	for _, w := range r.workloads {
		if strings.HasSuffix(w.Metadata.Name, suffix) {
			return w
		}
	}
	t.Fatalf("there is no workload called …%s", suffix)
	return workload{}
}

// config gives the files of the ConfigMap or Secret whose name ends so.
func (r rendered) config(t *testing.T, suffix string) map[string]string {
	t.Helper()
	for _, f := range r.files {
		if strings.HasSuffix(f.Metadata.Name, suffix) {
			if f.Kind == "Secret" {
				return f.StringData
			}
			return f.Data
		}
	}
	t.Fatalf("there is no configuration called …%s", suffix)
	return nil
}

// command runs a program to its end and gives what it says.
func command(t *testing.T, name string, arguments ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, arguments...)
	c.Env = []string{"PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	c.Stdout, c.Stderr = io.Writer(&said), io.Writer(&said)
	err := c.Run()
	return said.String(), err
}
