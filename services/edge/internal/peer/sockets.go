package peer

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// listenUDP opens one socket for each of the host's addresses that clients may reach, all on the same port, and joins them into a mux.
// One socket for all addresses would not do: an answer must leave from the address that the client sent to.
func listenUDP(cfg Config) (ice.UDPMux, error) {
	host, port, err := splitAddress(cfg.UDP)
	if err != nil {
		return nil, err
	}
	network := cfg.Net
	if network == nil {
		if network, err = stdnet.NewNet(); err != nil {
			return nil, err
		}
	}
	addresses, err := hostAddresses(network, host, cfg.Loopback)
	if err != nil {
		return nil, err
	}
	muxes := make([]ice.UDPMux, 0, len(addresses))
	for _, address := range addresses {
		conn, err := network.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, port)))
		if err != nil {
			err = taken(netip.AddrPortFrom(address, port).String(), err)
			return nil, errors.Join(err, ice.NewMultiUDPMuxDefault(muxes...).Close())
		}
		_ = conn.SetReadBuffer(readBuffer) // the kernel's limit is the operator's business
		_ = conn.SetWriteBuffer(writeBuffer)
		muxes = append(muxes, newMux(conn, cfg.Logger))
	}
	return ice.NewMultiUDPMuxDefault(muxes...), nil
}

func splitAddress(address string) (host netip.Addr, port uint16, err error) {
	name, number, err := net.SplitHostPort(address)
	if err != nil {
		return host, 0, fmt.Errorf("%q is not an address such as \":8189\": %w", address, err)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return host, 0, fmt.Errorf("%q is not an address such as \":8189\": bad port", address)
	}
	if name != "" {
		if host, err = netip.ParseAddr(name); err != nil {
			return host, 0, fmt.Errorf("%q does not start with an IP address", address)
		}
	}
	return host, uint16(n), nil
}

// hostAddresses gives the host's addresses that can be offered, best first: some clients (FFmpeg) try the first one only. An unspecified
// host means all. Link-local addresses are left out, for nobody is told their zone.
func hostAddresses(network transport.Net, host netip.Addr, loopback bool) ([]netip.Addr, error) {
	interfaces, err := network.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if i.Flags&net.FlagUp == 0 || err != nil {
			continue
		}
		for _, a := range addresses {
			ip, ok := addressOf(a)
			switch {
			case !ok, ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsLoopback() && !loopback:
			case host.IsValid() && !host.IsUnspecified() && ip != host.Unmap():
			case host.IsValid() && host.IsUnspecified() && host.Is4() && !ip.Is4(): // "0.0.0.0:8189"
			default:
				found = append(found, ip)
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no address of this host can be offered: connect a network, correct the address or set ice.loopback")
	}
	rank := func(a netip.Addr) int {
		switch {
		case a.IsLoopback():
			return 2
		case a.Is4():
			return 0
		default:
			return 1
		}
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return slices.Compact(found), nil
}

func addressOf(a net.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *net.IPNet:
		ip, ok := netip.AddrFromSlice(a.IP)
		return ip.Unmap(), ok
	case *net.IPAddr:
		ip, ok := netip.AddrFromSlice(a.IP)
		return ip.Unmap(), ok
	default:
		return netip.Addr{}, false
	}
}
