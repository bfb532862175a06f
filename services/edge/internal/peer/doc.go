// Package peer is one client's WebRTC connection: an [Endpoint] owns the sockets that all connections share, a [Peer] is one of them.
//
// It turns pion's callbacks into values that a session can own: a [Track] is a channel of packets stamped with their arrival, a [Channel]
// is read message by message. Read loops never wait for whoever uses the packets, because their pace is what congestion control measures;
// what does not fit is counted and lost. Each layer of a simulcast is a track; one that is not needed is paused, and answers turn down those that
// are known to be too large for any model. The limits that protect the edge from one client (sources, channels, candidates, the size of an
// offer) are kept here, and breaking one is told through [Events].
package peer
