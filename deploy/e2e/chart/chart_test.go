//go:build chart

package chart

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// TestServicesReachPods looks whether each Service finds the pods of exactly one workload, at a port that they have.
func TestServicesReachPods(t *testing.T) {
	for name, r := range allRendered(t) {
		t.Run(name, func(t *testing.T) {
			for _, s := range r.services {
				var found []workload
				for _, w := range r.workloads {
					if selects(s.Spec.Selector, w) {
						found = append(found, w)
					}
				}
				if len(found) != 1 {
					t.Errorf("Service %s finds the pods of %d workloads", s.Metadata.Name, len(found))
					continue
				}
				for _, port := range s.Spec.Ports {
					if name, named := port.TargetPort.(string); named && !hasPort(found[0], name) {
						t.Errorf("Service %s leads to the port %q, which %s has not", s.Metadata.Name, name, found[0].Metadata.Name)
					}
				}
			}
		})
	}
}

// selects tells whether a selector finds a workload's pods. A StatefulSet's pods have their names as labels too.
func selects(selector map[string]string, w workload) bool {
	for key, value := range selector {
		if key == "statefulset.kubernetes.io/pod-name" {
			if w.Kind != "StatefulSet" || !strings.HasPrefix(value, w.Metadata.Name+"-") {
				return false
			}
		} else if w.Spec.Template.Metadata.Labels[key] != value {
			return false
		}
	}
	return true
}

func hasPort(w workload, name string) bool {
	for _, c := range w.Spec.Template.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == name {
				return true
			}
		}
	}
	return false
}

// TestEachEdgeHasItsPort looks whether each edge listens where its own Service leads, and whether clients find it there: they are told the port that it
// listens on.
func TestEachEdgeHasItsPort(t *testing.T) {
	for name, r := range allRendered(t) {
		t.Run(name, func(t *testing.T) {
			set := r.workload(t, "-edge")
			configurations := r.config(t, "-edge")
			taken := make(map[string]string)
			for _, s := range r.services {
				pod := s.Spec.Selector["statefulset.kubernetes.io/pod-name"]
				if pod == "" {
					continue
				}
				var config struct {
					ICE struct{ UDP, TCP string }
				}
				if err := yaml.Unmarshal([]byte(configurations[pod+".yaml"]), &config); err != nil || config.ICE.UDP == "" {
					t.Fatalf("%s has no configuration: %v", pod, err)
				}
				for _, port := range s.Spec.Ports {
					listens := map[string]string{"UDP": config.ICE.UDP, "TCP": config.ICE.TCP}[port.Protocol]
					if want := fmt.Sprintf(":%d", port.Port); listens != want || fmt.Sprint(port.TargetPort) != want[1:] {
						t.Errorf("%s listens on %q, and its Service leads from %s to %v", pod, listens, want, port.TargetPort)
					}
					if s.Spec.Type != "NodePort" {
						continue
					}
					if port.NodePort != port.Port {
						t.Errorf("%s tells clients port %d and is reached on %d", pod, port.Port, port.NodePort)
					}
					key := fmt.Sprint(port.Protocol, port.NodePort)
					if other := taken[key]; other != "" {
						t.Errorf("%s and %s have both %s", pod, other, key)
					}
					taken[key] = pod
				}
			}
			if set.Spec.ServiceName != set.Metadata.Name+"-members" {
				t.Errorf("the edges' names are in %q", set.Spec.ServiceName)
			}
		})
	}
}

// TestServicesAcceptTheirConfiguration hands every configuration to the service that it is for.
func TestServicesAcceptTheirConfiguration(t *testing.T) {
	root, dir := stack.Root(t), t.TempDir()
	writeCertificate(t, dir)
	// The images' places, as this machine has them.
	here := strings.NewReplacer("/etc/sluice-mtls", dir, "/etc/sluice-https", dir, "/usr/share/sluice/models", filepath.Join(root, ".cache", "models"))
	library := filepath.Join(root, ".cache", "onnxruntime", "libonnxruntime.so")
	check := func(t *testing.T, service, name, text string, more ...string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(here.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := command(t, stack.Binary(t, service), append(more, "--config", path, "--check-config")...); err != nil {
			t.Errorf("%s: %v: %s", name, err, said)
		}
	}
	for name, r := range allRendered(t) {
		t.Run(name, func(t *testing.T) {
			for name, text := range r.config(t, "-edge") {
				check(t, "sluice-edge", name, text)
			}
			for name, text := range r.config(t, "-router") {
				check(t, "sluice-router", name, text, "--onnx.library", library)
			}
		})
	}
	for _, file := range []string{"deploy/compose/router.yaml", "deploy/images/edge/edge.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(file, "edge") {
			check(t, "sluice-edge", "edge.yaml", string(text))
		} else {
			check(t, "sluice-router", "router.yaml", string(text), "--onnx.library", library)
		}
	}
}

// writeCertificate makes what a Secret of type kubernetes.io/tls with a ca.crt holds.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sluice"}, DNSNames: []string{"sluice-router"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate},
		"ca.crt":  {Type: "CERTIFICATE", Bytes: certificate},
		"tls.key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestarts tells which changes restart pods: the routers' models do not, for routers follow them; nor does another number of edges.
func TestRestarts(t *testing.T) {
	const model = "router: {models: [{name: other, backend: {oip: {targets: [\"dns:///a:1\"]}}, input: {kind: document}}]}"
	base := mustRender(t, "")
	for _, c := range []struct {
		name, values, suffix string
		restarts             bool
	}{
		{"the routers' models", model, "-router", false},
		{"the routers' log", "router: {config: {log: {level: debug}}}", "-router", true},
		{"more edges", "edge: {replicas: 5}", "-edge", false},
		{"the edges' limits", "edge: {config: {limits: {sessions: 7}}}", "-edge", true},
		{"where media comes in", "edge: {ice: {mode: pod}}", "-edge", true},
		{"the edges' limits, to routers", "edge: {config: {limits: {sessions: 7}}}", "-router", false},
	} {
		before, after := base.workload(t, c.suffix), mustRender(t, c.values).workload(t, c.suffix)
		if restarts := !reflect.DeepEqual(before.Spec.Template, after.Spec.Template); restarts != c.restarts {
			t.Errorf("a change of %s restarts pods: %v, want %v", c.name, restarts, c.restarts)
		}
	}
}

// TestRefusedValues gives values that no release may have.
func TestRefusedValues(t *testing.T) {
	for _, c := range []struct{ values, complaint string }{
		{"edge: {replica: 3}", "replica"},
		{"edge: {config: {http: {listen: ':80'}}}", "listen"},
		{"edge: {config: {ice: {udp: ':80'}}}", "udp"},
		{"edge: {ice: {mode: ingress}}", "mode"},
		{"edge: {ice: {nodePort: {first: 8189}}}", "first"},
		{"edge: {ice: {mode: loadBalancer}}", "ddresses"},
		{"edge: {replicas: 3, ice: {mode: loadBalancer, podAddresses: [[192.0.2.1], [192.0.2.2]]}}", "number 2"},
		{"edge: {drainSeconds: -1}", "drainSeconds"},
		{"router: {models: []}", "models"},
		{"router: {models: [{name: a, backend: {onnx: {}, oip: {}}, input: {}}]}", "backend"},
		{"mtls: {enabled: true}", "Secret"},
		{"triton: {enabled: true}", "volume"},
		{"edge: {terminationGracePeriodSeconds: 20}", "terminationGracePeriodSeconds"},
	} {
		if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("%s: the chart says %v, nothing of %q", c.values, err, c.complaint)
		}
	}
}

// TestPortsOfModelServers gives addresses as routers take them, of which the routers' network policy must let out the ports.
func TestPortsOfModelServers(t *testing.T) {
	for _, c := range []struct {
		backend string
		port    int
	}{
		{"oip: {targets: ['dns:///triton:8001']}", 8001},
		{"oip: {targets: ['10.0.0.7:8001']}", 8001},
		{"oip: {targets: ['dns://10.0.0.10:53/triton:8001']}", 8001},
		{"oip: {targets: ['dns:///triton']}", 443},
		{"websocket: {url: 'ws://ml.example/infer'}", 80},
		{"websocket: {url: 'wss://ml.example/infer'}", 443},
		{"websocket: {url: 'wss://ml.example:9000/infer:1/'}", 9000},
		{"websocket: {urls: ['ws://[2001:db8::1]:9001?key=1']}", 9001},
	} {
		r := mustRender(t, "router: {models: [{name: m, backend: {"+c.backend+"}, input: {}}]}")
		if got := r.egress["sluice-router"]; !slices.Contains(got, c.port) || len(got) != 3 {
			t.Errorf("%s: routers may call the ports %v, want DNS by UDP and TCP, and %d", c.backend, got, c.port)
		}
	}
}

// TestIngress renders Ingresses as the API server takes them: where the certificate is for any host, none is named.
func TestIngress(t *testing.T) {
	for _, c := range []struct {
		host string
		want []string
	}{{"", nil}, {"media.example", []string{"media.example"}}} {
		r := mustRender(t, "edge: {ingress: {enabled: true, tlsSecret: media-tls, host: '"+c.host+"'}}")
		if len(r.ingresses) != 1 || len(r.ingresses[0].Spec.TLS) != 1 || !slices.Equal(r.ingresses[0].Spec.TLS[0].Hosts, c.want) {
			t.Errorf("with the host %q: %+v", c.host, r.ingresses)
		}
	}
}

// TestPodMonitor renders what only a cluster with the Prometheus Operator knows.
func TestPodMonitor(t *testing.T) {
	if n := mustRender(t, "monitoring: {podMonitor: {enabled: true}}").kinds["PodMonitor"]; n != 1 {
		t.Errorf("there are %d PodMonitors", n)
	}
}

// TestShippedModels compares the models that the chart names with those of the router's sample, of which they are a copy.
func TestShippedModels(t *testing.T) {
	read := func(path, key string) (models []map[string]any) {
		text, err := os.ReadFile(filepath.Join(stack.Root(t), path))
		if err != nil {
			t.Fatal(err)
		}
		place, err := yaml.PathString(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := place.Read(strings.NewReader(string(text)), &models); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return models
	}
	sample := read("deploy/config/router.yaml", "$.models")
	models := read("deploy/helm/sluice/values.yaml", "$.router.models")
	if len(models) != len(sample) {
		t.Fatalf("the chart has %d models, the sample %d", len(models), len(sample))
	}
	for i := range models {
		within(t, fmt.Sprintf("models[%d]", i), models[i], sample[i])
	}
}

// within reports what a part says otherwise than the whole. Files lie elsewhere in the image.
func within(t *testing.T, at string, part, whole any) {
	t.Helper()
	inner, nested := part.(map[string]any)
	if !nested {
		if fmt.Sprint(part) != fmt.Sprint(whole) && filepath.Base(fmt.Sprint(part)) != filepath.Base(fmt.Sprint(whole)) {
			t.Errorf("%s is %v in the chart and %v in the sample", at, part, whole)
		}
		return
	}
	outer, _ := whole.(map[string]any)
	for key, value := range inner {
		within(t, at+"."+key, value, outer[key])
	}
}
