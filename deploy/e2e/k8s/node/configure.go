package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// token opens the API server. It is no secret: nobody but the test reaches the server.
const token = "administrator"

// network gives the namespace that the process is in the interfaces of a node, and makes the client's beside it.
func (n *Node) network(t testing.TB) {
	t.Helper()
	for _, arguments := range []string{
		"link set lo up",
		"link add node0 type bridge",
		"address add " + Address + "/24 dev node0",
		"link set node0 up",
		// It leads nowhere, but without one the addresses of services are unreachable before they are translated.
		"route add default dev node0",
		"netns add " + Client,
		"link add client0 type veth peer name eth0 netns " + Client,
		"address add " + gateway + "/24 dev client0",
		"link set client0 up",
		"-n " + Client + " link set lo up",
		"-n " + Client + " address add " + client + "/24 dev eth0",
		"-n " + Client + " link set eth0 up",
		"-n " + Client + " route add default via " + gateway,
	} {
		stack.Command(t, "", readyLimit, "ip", strings.Fields(arguments)...)
	}
	stack.Command(t, "", readyLimit, "sysctl", "-qw", "net.ipv4.ip_forward=1")
}

// configure writes the files that the node's parts read.
func (n *Node) configure(t testing.TB) {
	t.Helper()
	for from, to := range map[string]string{
		"containerd.toml": "containerd.toml", "cni.conflist": "cni/pods.conflist", "kubelet.yaml": "kubelet.yaml", "proxy.yaml": "proxy.yaml", "kubeconfig.yaml": "kubeconfig.yaml",
	} {
		n.write(t, to, n.render(t, from))
	}
	n.write(t, "tokens.csv", token+`,admin,admin,"system:masters"`+"\n")
	n.accounts(t)
	n.frontProxy(t)
}

// accounts makes the key that signs the service accounts' tokens.
func (n *Node) accounts(t testing.TB) {
	t.Helper()
	key := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	n.write(t, "accounts.key", privateKey(t, key))
	n.write(t, "accounts.pub", block("PUBLIC KEY", public))
}

// frontProxy makes the certificates by which servers behind the API server, such as that of the custom metrics, know it.
func (n *Node) frontProxy(t testing.TB) {
	t.Helper()
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
	}
	signer, signerKey := template("front-proxy-ca"), newKey(t)
	signer.IsCA, signer.BasicConstraintsValid, signer.KeyUsage = true, true, x509.KeyUsageCertSign
	proxy, proxyKey := template("front-proxy-client"), newKey(t)
	proxy.KeyUsage, proxy.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, c := range []struct {
		name string
		leaf *x509.Certificate
		key  *ecdsa.PrivateKey
	}{{"front-proxy-ca", signer, signerKey}, {"front-proxy", proxy, proxyKey}} {
		made, err := x509.CreateCertificate(rand.Reader, c.leaf, signer, &c.key.PublicKey, signerKey)
		if err != nil {
			t.Fatal(err)
		}
		n.write(t, c.name+".crt", block("CERTIFICATE", made))
		n.write(t, c.name+".key", privateKey(t, c.key))
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func privateKey(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("EC PRIVATE KEY", der)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// apiserver is the API server's command line: the administrator's token, signed accounts, the usual authorisation, and servers behind it.
func (n *Node) apiserver() []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379", "--secure-port=6443", "--bind-address=0.0.0.0", "--advertise-address=" + Address, "--cert-dir=" + n.path("certificates"),
		"--kubelet-preferred-address-types=InternalIP", // nothing resolves the node's name
		"--service-account-key-file=" + n.path("accounts.pub"), "--service-account-signing-key-file=" + n.path("accounts.key"),
		"--service-account-issuer=https://kubernetes.default.svc", "--token-auth-file=" + n.path("tokens.csv"), "--authorization-mode=Node,RBAC",
		"--service-cluster-ip-range=" + services, "--enable-admission-plugins=NodeRestriction", "--enable-aggregator-routing=true",
		"--allow-privileged=true", // it is Pod Security that is to refuse them
		"--requestheader-client-ca-file=" + n.path("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + n.path("front-proxy.crt"), "--proxy-client-key-file=" + n.path("front-proxy.key"),
	}
}
