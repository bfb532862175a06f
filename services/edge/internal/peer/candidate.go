package peer

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
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

// preferredFirst puts the candidates of a description in the order of their priorities. The agent gathers them all at once, so that they come in any order, and there are clients that look at
// the first one only: FFmpeg's WHIP gives up when that is one for TCP.
func preferredFirst(description string) string {
	lines := strings.SplitAfter(description, "\n")
	for rest := lines; len(rest) > 0; {
		others := slices.IndexFunc(rest, func(line string) bool { return !strings.HasPrefix(line, "a=candidate:") })
		if others < 0 {
			others = len(rest)
		}
		slices.SortStableFunc(rest[:others], func(a, b string) int { return cmp.Compare(candidatePriority(b), candidatePriority(a)) })
		rest = rest[min(others+1, len(rest)):]
	}
	return strings.Join(lines, "")
}

// candidatePriority reads a candidate's priority, its fourth word; 0 where there is none.
func candidatePriority(line string) uint64 {
	words := strings.Fields(line)
	if len(words) < 4 {
		return 0
	}
	priority, _ := strconv.ParseUint(words[3], 10, 32) // what is no number is the least
	return priority
}
