package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// Config says where an Endpoint listens and what one client may use. Zero limits mean the defaults named.
type Config struct {
	// UDP is the address for ICE over UDP, such as ":8189" for all the host's addresses or "192.0.2.1:8189" for one. Required.
	UDP string
	// TCP is the address for ICE over TCP; empty means none.
	TCP string
	// Addresses are offered in place of the host's own, for an edge behind a 1:1 NAT.
	Addresses []string
	// Loopback offers the loopback addresses too and talks to candidates there.
	Loopback bool
	// Channels is how many data channels a client may have open at once. 0 means 8.
	Channels int
	// Logger is required. Neither SDP nor a client's addresses are logged.
	Logger *slog.Logger
	// Registry receives the metrics of tracks; nil means none.
	Registry prometheus.Registerer
	// Net is where sockets come from; nil means the host.
	Net transport.Net
}

// Endpoint is the pair of sockets, UDP and TCP, through which every session of the edge goes, with all that sessions share. It is safe
// for concurrent use.
type Endpoint struct {
	cfg          Config
	logs         logging.LoggerFactory
	udp          ice.UDPMux
	tcp          ice.TCPMux
	tcpListener  net.Listener
	interceptors *interceptor.Registry
	media        *webrtc.MediaEngine
	metrics      *metrics

	mu          sync.Mutex
	certificate webrtc.Certificate
}

// The sizes of socket buffers: enough for the bursts of key frames of a few hundred sessions. The kernel may give less.
const (
	readBuffer  = 8 << 20
	writeBuffer = 1 << 20
	// tcpQueue is how many packets of one TCP connection may wait to be read.
	tcpQueue = 64
	// maxChannels is the default of Config.Channels.
	maxChannels = 8
)

// Listen opens the sockets. Errors name the configuration key.
func Listen(cfg Config) (*Endpoint, error) {
	if cfg.Channels == 0 {
		cfg.Channels = maxChannels
	}
	e := &Endpoint{cfg: cfg, logs: pionLogs{cfg.Logger}}
	var err error
	if e.media, e.interceptors, err = mediaStack(e.logs); err != nil {
		return nil, err
	}
	if e.metrics, err = newMetrics(cfg.Registry); err != nil {
		return nil, err
	}
	for _, address := range cfg.Addresses {
		if _, err := netip.ParseAddr(address); err != nil {
			return nil, fmt.Errorf("ice.addresses: %q is not an IP address", address)
		}
	}
	if e.udp, err = listenUDP(cfg); err != nil {
		return nil, fmt.Errorf("ice.udp: %w", err)
	}
	if cfg.TCP != "" {
		if e.tcpListener, err = net.Listen("tcp", cfg.TCP); err != nil {
			return nil, errors.Join(fmt.Errorf("ice.tcp: %w", taken(cfg.TCP, err)), e.udp.Close())
		}
		e.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener:             e.tcpListener,
			Logger:               e.logs.NewLogger("ice-tcp"),
			ReadBufferSize:       tcpQueue,
			WriteBufferSize:      writeBuffer,
			FirstStunBindTimeout: 5 * time.Second,
			// A client that knows no user name must not hold a connection for long either.
			AliveDurationForConnFromStun: 10 * time.Second,
		})
	}
	return e, nil
}

// Close closes the sockets. Peers are closed first.
func (e *Endpoint) Close() error {
	err := e.udp.Close()
	if e.tcp != nil {
		err = errors.Join(err, e.tcp.Close())
	}
	return err
}

// Addresses gives the addresses of the UDP sockets.
func (e *Endpoint) Addresses() []net.Addr { return e.udp.GetListenAddresses() }

// TCPAddress gives the address of the TCP socket, nil when there is none.
func (e *Endpoint) TCPAddress() net.Addr {
	if e.tcpListener == nil {
		return nil
	}
	return e.tcpListener.Addr()
}

// certificateLife is how long a certificate serves new sessions before another one is made; clients accept it for longer.
const certificateLife = 24 * time.Hour

// currentCertificate gives the certificate for a new session. One serves all sessions for a day: making one costs more than a handshake.
func (e *Endpoint) currentCertificate(now time.Time) (webrtc.Certificate, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	const clientsAcceptFor = 30 * 24 * time.Hour // what GenerateCertificate asks for
	if now.Add(clientsAcceptFor - certificateLife).Before(e.certificate.Expires()) {
		return e.certificate, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	e.certificate = *certificate
	return e.certificate, nil
}

// taken puts the commonest failure of listening into words that help.
func taken(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another process: choose another port or stop it (%w)", address, err)
	}
	return err
}
