package front

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the scheme's own, as TURN servers check it
	"encoding/base64"
	"net/http"
	"strconv"
	"time"
)

// ICEServer is a STUN or TURN server that clients should use.
type ICEServer struct {
	// URLs are stun:, turn: and turns: addresses.
	URLs []string
	// Username and Credential are empty for STUN, and where there is a Secret.
	Username, Credential string
	// Secret, when not empty, is what the edge shares with the TURN server: each client gets credentials of its own, good for TTL (the "REST API"
	// scheme, draft-uberti-behave-turn-rest, which coturn calls use-auth-secret).
	Secret string
	TTL    time.Duration
}

// iceServers gives the servers as one client is told of them. The name, which may be empty, is what the TURN server's log shows of the client.
func (f *Front) iceServers(name string, now time.Time) []ICEServer {
	servers := make([]ICEServer, len(f.cfg.ICEServers))
	for i, server := range f.cfg.ICEServers {
		if server.Secret != "" {
			server.Username, server.Credential = lend(server.Secret, name, now.Add(server.TTL))
		}
		servers[i] = server
	}
	return servers
}

// lend makes credentials that a TURN server takes until they expire.
func lend(secret, name string, expiry time.Time) (username, credential string) {
	username = strconv.FormatInt(expiry.Unix(), 10)
	if name != "" {
		username += ":" + name
	}
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return username, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// linkICEServers tells a WHIP client of the STUN and TURN servers that it should use (RFC 9725 section 4.6).
func (f *Front) linkICEServers(h http.Header, name string) {
	for _, server := range f.iceServers(name, time.Now()) {
		for _, address := range server.URLs {
			h.Add("Link", iceLink(address, server))
		}
	}
}

func iceLink(address string, server ICEServer) string {
	link := "<" + address + `>; rel="ice-server"`
	if server.Username != "" {
		link += "; username=" + quote(server.Username) + "; credential=" + quote(server.Credential) + `; credential-type="password"`
	}
	return link
}

// tellPublishers tells what a publisher wants to know before its offer, in the answer to OPTIONS: the ICE servers, for clients that cannot take them from
// the answer to their offer (credentials are for who could have them by POST), and what a session takes, in the header in which
// @eyevinn/whip-web-client looks for PATCH before it trickles.
func (f *Front) tellPublishers(h http.Header, r *http.Request) {
	h.Set("Access-Control-Allow-Methods", "DELETE, OPTIONS, PATCH, POST")
	if _, err := f.authenticate(r); err == nil {
		f.linkICEServers(h, "")
	}
}
