package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

// selfSigned makes a certificate that nobody else has signed.
func selfSigned(t *testing.T, names []string, addresses []net.IP) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: names, IPAddresses: addresses}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Edges that show the same certificate trust each other, whatever address they are asked at; a stranger's certificate is refused.
func TestMemberTLS(t *testing.T) {
	t.Parallel()
	stranger := selfSigned(t, []string{"edge.example"}, nil)
	for name, own := range map[string]tls.Certificate{
		"name":     selfSigned(t, []string{"edge.example", "other.example"}, nil),
		"wildcard": selfSigned(t, []string{"*.example"}, nil),
		"address":  selfSigned(t, nil, []net.IP{net.IPv4(192, 0, 2, 1)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := memberTLS(&tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil }})
			if err != nil {
				t.Fatal(err)
			}
			for _, tc := range []struct {
				shown tls.Certificate
				good  bool
			}{{own, true}, {stranger, false}} {
				if err := shake(client, tc.shown); (err == nil) != tc.good {
					t.Errorf("a handshake with its own certificate, %v, ended with %v", tc.good, err)
				}
			}
		})
	}
}

// shake makes a handshake in memory with a server that shows a certificate, and gives the client's opinion.
func shake(client *tls.Config, shown tls.Certificate) error {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(far, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown}}).Handshake()
		_ = far.Close()
	}()
	err := tls.Client(near, client).Handshake()
	_ = near.Close()
	<-done
	return err
}
