// Package node runs one real Kubernetes node, control plane and all, for tests: etcd, containerd and runc from Debian's packages, the rest built from Go modules by .tools/k8s/build.sh. It
// belongs into namespaces that deploy/e2e/k8s/run.sh makes: it takes over the network that it finds, and what it starts ends with them.
package node

import (
	"embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// Name is the node's.
	Name = "node"
	// Address is the node's own, where clients outside of the cluster reach node ports.
	Address = "172.31.0.1"
	// Client is the network namespace outside of the cluster: a host whose router is the node.
	Client = "client"
	// DNS is the address of the cluster's name server.
	DNS      = "10.96.0.10"
	services = "10.96.0.0/16"
	pods     = "10.244.0.0/24"
	client   = "172.31.1.2"
	gateway  = "172.31.1.1"
)

// readyLimit bounds how long a part of the node may take to be ready on a busy machine; idle, the whole takes six seconds.
const readyLimit = 90 * time.Second

//go:embed files
var files embed.FS

// Node is a running node. Its methods fail the test instead of returning errors, unless they say otherwise.
type Node struct {
	// Kubeconfig is the path of the administrator's.
	Kubeconfig string

	bin, work, logs string
}

// Start runs a node with cluster DNS until the test ends. Images are archives that the pods may use, beside what the node needs for itself; logs is a folder that its parts' logs go to, and below pods those of the
// containers.
func Start(t testing.TB, bin, work, logs string, images ...string) *Node {
	t.Helper()
	if work == "" || bin == "" {
		t.Fatal("K8S_WORK or K8S_BIN is not set: run this by `make k8s-test`, which makes the namespaces that it needs")
	}
	n := &Node{Kubeconfig: filepath.Join(work, "kubeconfig.yaml"), bin: bin, work: work, logs: logs}
	n.network(t)
	n.configure(t)
	n.daemon(t, "etcd", "etcd", "--data-dir", n.path("etcd"), "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync")
	n.daemon(t, "containerd", "containerd", "--config", n.path("containerd.toml"))
	n.daemon(t, "kube-apiserver", n.program("kube-apiserver"), n.apiserver()...)
	n.importImages(t, images)
	n.await(t, "the API server is ready", "get", "--raw", "/readyz")
	n.daemon(t, "kube-controller-manager", n.program("kube-controller-manager"), "--kubeconfig", n.Kubeconfig, "--service-account-private-key-file", n.path("accounts.key"),
		"--root-ca-file", n.path("certificates/apiserver.crt"), "--leader-elect=false", "--bind-address", "127.0.0.1", "--cert-dir", n.path("kcm"),
		"--horizontal-pod-autoscaler-sync-period", "2s", "--horizontal-pod-autoscaler-initial-readiness-delay", "2s")
	n.daemon(t, "kube-scheduler", n.program("kube-scheduler"), "--kubeconfig", n.Kubeconfig, "--leader-elect=false", "--bind-address", "127.0.0.1", "--cert-dir", n.path("scheduler"))
	n.daemon(t, "kubelet", n.program("kubelet"), "--config", n.path("kubelet.yaml"), "--kubeconfig", n.Kubeconfig, "--root-dir", n.path("kubelet"), "--cert-dir", n.path("kubelet/pki"),
		"--hostname-override", Name, "--node-ip", Address)
	n.daemon(t, "kube-proxy", n.program("kube-proxy"), "--config", n.path("proxy.yaml"))
	n.await(t, "the node has registered", "get", "node", Name)
	n.Kubectl(t, "wait", "--for=condition=Ready", "node/"+Name, "--timeout", readyLimit.String())
	n.await(t, "service accounts are made", "-n", "kube-system", "get", "serviceaccount", "default")
	n.Apply(t, n.render(t, "dns.yaml"))
	n.Kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout", readyLimit.String())
	return n
}

// Kubectl runs kubectl and gives what it prints.
func (n *Node) Kubectl(t testing.TB, arguments ...string) string {
	t.Helper()
	out, err := n.TryKubectl(t, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryKubectl is Kubectl for what may fail; the error holds what kubectl complained about.
func (n *Node) TryKubectl(t testing.TB, arguments ...string) (string, error) {
	t.Helper()
	return stack.TryCommand(t, "", 2*readyLimit, n.program("kubectl"), append([]string{"--kubeconfig", n.Kubeconfig}, arguments...)...)
}

// Get decodes the JSON of objects into what into points to.
func (n *Node) Get(t testing.TB, into any, arguments ...string) {
	t.Helper()
	text := n.Kubectl(t, append(append([]string{"get"}, arguments...), "-o", "json")...)
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("kubectl get %s: %v", strings.Join(arguments, " "), err)
	}
}

// Apply makes or changes the objects of a manifest. Flags are kubectl's.
func (n *Node) Apply(t testing.TB, manifest string, flags ...string) {
	t.Helper()
	if out, err := n.TryApply(t, manifest, flags...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TryApply is Apply for manifests that may be refused; it gives all that kubectl said.
func (n *Node) TryApply(t testing.TB, manifest string, flags ...string) (string, error) {
	t.Helper()
	command := exec.Command(n.program("kubectl"), append([]string{"--kubeconfig", n.Kubeconfig, "apply", "-f", "-"}, flags...)...)
	command.Stdin = strings.NewReader(manifest)
	out, err := command.CombinedOutput()
	return string(out), err
}

func (n *Node) await(t testing.TB, what string, arguments ...string) {
	t.Helper()
	stack.Eventually(t, readyLimit, what, func() error {
		_, err := n.TryKubectl(t, arguments...)
		return err
	})
}

func (n *Node) path(name string) string    { return filepath.Join(n.work, name) }
func (n *Node) program(name string) string { return filepath.Join(n.bin, name) }

// render fills a template of files/.
func (n *Node) render(t testing.TB, name string) string {
	t.Helper()
	parsed, err := template.ParseFS(files, "files/"+name)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, map[string]string{
		"Work": n.work, "Logs": n.logs, "Kubeconfig": n.Kubeconfig, "Token": token, "Name": Name, "Address": Address, "Pods": pods, "DNS": DNS,
	}); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// write puts a file into the working folder.
func (n *Node) write(t testing.TB, name, text string) {
	t.Helper()
	path := n.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
