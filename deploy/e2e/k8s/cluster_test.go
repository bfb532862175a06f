//go:build k8s

package k8s

import (
	"embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/k8s/node"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	// namespace is the release's, which is called the same.
	namespace = "sluice"
	// rolloutLimit bounds how long an edge or a router may take to be replaced, for each of them: its drain, and a busy machine's time.
	rolloutLimit = 90 * time.Second
)

//go:embed manifests
var manifests embed.FS

// cluster is a node with the release on it.
type cluster struct {
	*node.Node
	helm, tag, logs string
	// edges is the address of the edges' Service, as a client's proxy would have it.
	edges string
}

// newCluster starts a node that has the images of the release.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	root := stack.Root(t)
	c := &cluster{helm: os.Getenv("HELM"), tag: os.Getenv("K8S_TAG"), logs: filepath.Join(root, ".build", "k8s", "logs")}
	if c.helm == "" || c.tag == "" {
		t.Fatal("HELM or K8S_TAG is not set: run this by `make k8s-test`")
	}
	var images []string
	for _, name := range []string{"sluice-edge", "sluice-router", "oipstub"} {
		images = append(images, filepath.Join(root, ".build", "images", name+".tar"))
	}
	camera(t)
	c.Node = node.Start(t, os.Getenv("K8S_BIN"), os.Getenv("K8S_WORK"), c.logs, images...)
	return c
}

// camera makes the clip that the sessions send: 320 × 180, five pictures a second, each second one that a decoder can begin with.
func camera(t *testing.T) {
	t.Helper()
	stack.Command(t, "", rolloutLimit, "ffmpeg", "-nostdin", "-loglevel", "error", "-i", stack.Clip(t, "faces-360p30.webm"), "-vf", "scale=320:180,fps=5", "-c:v", "libvpx", "-g", "5",
		cameraClip())
}

func cameraClip() string { return filepath.Join(os.Getenv("K8S_WORK"), "camera.ivf") }

// manifest gives the text of one of the files in manifests/, with what @NAME@ stands for in it.
func manifest(t *testing.T, name string, replacements ...string) string {
	t.Helper()
	text, err := manifests.ReadFile("manifests/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(replacements...).Replace(string(text))
}

// kubectl runs kubectl in the release's namespace.
func (c *cluster) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	return c.Kubectl(t, append([]string{"-n", namespace}, arguments...)...)
}

// upgrade installs the release, or changes the values of the one that is there.
func (c *cluster) upgrade(t *testing.T, changes ...string) {
	t.Helper()
	chart := filepath.Join(stack.Root(t), "deploy", "helm", "sluice")
	values := filepath.Join("manifests", "values.yaml")
	arguments := []string{
		"upgrade", "--install", "--kubeconfig", c.Kubeconfig, "--namespace", namespace, namespace, chart, "--values", values,
		"--set", "edge.image.tag=" + c.tag + ",router.image.tag=" + c.tag,
	}
	for _, change := range changes {
		arguments = append(arguments, "--set", change)
	}
	stack.Command(t, "", rolloutLimit, c.helm, arguments...)
}

// settle waits until edges and routers are what they are to be.
func (c *cluster) settle(t *testing.T) {
	t.Helper()
	for _, workload := range []string{"deployment/sluice-router", "statefulset/sluice-edge"} {
		c.rolled(t, workload)
	}
}

// rolled waits until a workload's pods are all of its present kind, and ready. If they do not come to be, it says what is in their way.
func (c *cluster) rolled(t *testing.T, workload string) {
	t.Helper()
	if _, err := c.TryKubectl(t, "-n", namespace, "rollout", "status", workload, "--timeout", (2 * rolloutLimit).String()); err != nil {
		t.Log(c.kubectl(t, "get", "pods", "-o", "wide"))
		t.Log(c.kubectl(t, "get", "events", "--sort-by=.lastTimestamp"))
		t.Fatalf("%v; the containers' logs are in %s", err, filepath.Join(c.logs, "pods"))
	}
}

// pod is what the test reads of a pod.
type pod struct {
	Metadata struct {
		Name, UID         string
		DeletionTimestamp *time.Time
		Annotations       map[string]string
	}
	Status struct {
		PodIP             string
		ContainerStatuses []struct {
			Ready        bool
			RestartCount int
		}
	}
}

func (p pod) ready() bool {
	return p.Metadata.DeletionTimestamp == nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Ready
}

// pods gives the pods of a component, edge or router.
func (c *cluster) pods(t *testing.T, component string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	c.Get(t, &list, "pods", "-n", namespace, "-l", "app.kubernetes.io/name=sluice,app.kubernetes.io/component="+component)
	return list.Items
}

// replaced checks that none of the pods from before is there any more, and as many others are ready.
func (c *cluster) replaced(t *testing.T, component string, before []pod) {
	t.Helper()
	old := map[string]bool{}
	for _, p := range before {
		old[p.Metadata.UID] = true
	}
	ready := 0
	for _, p := range c.pods(t, component) {
		if old[p.Metadata.UID] {
			t.Errorf("%s is still there", p.Metadata.Name)
		}
		if p.ready() {
			ready++
		}
	}
	if ready != len(before) {
		t.Errorf("%d pods are ready, want %d", ready, len(before))
	}
}

// sum adds up a metric over the pods of a component that are ready.
func (c *cluster) sum(t *testing.T, component, port, metric string, labels ...string) (total float64) {
	t.Helper()
	for _, p := range c.pods(t, component) {
		if p.ready() {
			total += new(stack.Stack).Metric(t, net.JoinHostPort(p.Status.PodIP, port), metric, labels...)
		}
	}
	return total
}

// serviceAddress gives the address of a Service inside of the cluster, which the client's host reaches by way of the node.
func (c *cluster) serviceAddress(t *testing.T, name string) string {
	t.Helper()
	var service struct {
		Spec struct {
			ClusterIP string
			Ports     []struct{ Port int }
		}
	}
	c.Get(t, &service, "service", name, "-n", namespace)
	return net.JoinHostPort(service.Spec.ClusterIP, fmt.Sprint(service.Spec.Ports[0].Port))
}
