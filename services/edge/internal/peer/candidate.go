package peer

import (
	"net"
	"net/netip"
	"strings"

	"github.com/pion/ice/v4"
)

// maxCandidates is how many candidates a client may name, in its offer and afterwards together.
const maxCandidates = 64

// admitCandidate tells whether the edge talks to a candidate (RFC 8839 section 5.1, with or without the leading "candidate:"). A host name
// is never looked up: it would let a client make the edge ask name servers. Where the address is missing the client is still found when
// it sends the first check itself.
func admitCandidate(text string, loopback bool) bool {
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(text, "candidate:"))
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(c.Address())
	return err == nil && reachable(address.AsSlice(), loopback)
}

// reachable tells whether the edge sends anything to an address that a client names.
func reachable(ip net.IP, loopback bool) bool {
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip.IsInterfaceLocalMulticast(), ip.Equal(net.IPv4bcast):
		return false
	case ip.IsLoopback():
		return loopback
	default:
		return true
	}
}
