package front

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// bearerProtocol is the prefix of the WebSocket subprotocol that carries a token, for browsers, which cannot set headers on a WebSocket.
// A token never travels in a URL: those are logged.
const bearerProtocol = "bearer."

// principal is who made a request: the token that it showed, empty where none is needed.
type principal string

type digest [sha256.Size]byte

// digests prepares tokens for comparison: digests have one length, so that comparing tells nothing of a token's length either.
func digests(tokens []string) []digest {
	sums := make([]digest, len(tokens))
	for i, token := range tokens {
		sums[i] = sha256.Sum256([]byte(token))
	}
	return sums
}

// authenticate finds out who made the request. It looks at every token whatever the outcome, so that its time tells nothing.
func (f *Front) authenticate(r *http.Request) (principal, error) {
	if len(f.tokens) == 0 {
		return "", nil
	}
	token := presented(r)
	if token == "" {
		return "", refuse(http.StatusUnauthorized, codeUnauthorized, "this edge wants a bearer token: Authorization: Bearer TOKEN, or on a WebSocket the subprotocol bearer.TOKEN")
	}
	sum, match := sha256.Sum256([]byte(token)), 0
	for _, known := range f.tokens {
		match |= subtle.ConstantTimeCompare(sum[:], known[:])
	}
	if match == 0 {
		return "", refuse(http.StatusUnauthorized, codeUnauthorized, "the bearer token is not one of this edge's")
	}
	return principal(token), nil
}

// presented gives the token of a request, or nothing.
func presented(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	for _, protocol := range subprotocols(r) {
		if token, ok := strings.CutPrefix(protocol, bearerProtocol); ok {
			return token
		}
	}
	return ""
}

// subprotocols lists the WebSocket subprotocols that the client offers.
func subprotocols(r *http.Request) []string {
	var names []string
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// challenge is the WWW-Authenticate of RFC 6750 section 3.
func challenge(r *http.Request) string {
	if presented(r) == "" {
		return `Bearer realm="sluice"`
	}
	return `Bearer realm="sluice", error="invalid_token"`
}

// crossOrigin decides about the page that made the request. An allowed foreign origin is told so (the Fetch standard's CORS protocol); any
// other foreign origin is refused on private routes, and left to its browser on public ones.
func (t route) crossOrigin(h http.Header, r *http.Request) error {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || origin == t.front.ownOrigin(r) && t.front.knows(r) {
		return nil
	}
	if !t.front.origins[origin] {
		if !t.private {
			return nil
		}
		return refuse(http.StatusForbidden, codeOriginNotAllowed,
			"pages of this origin may not use the edge: add the origin to http.origins, or set http.public_url to the edge's own address")
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Location, Link, Retry-After, ETag, Accept-Post, Accept-Patch, Access-Control-Allow-Methods, "+protocolHeader)
	return nil
}

// knows tells whether the host that a request names is the edge's own for sure. Anybody's host name can be made to resolve to the edge's address
// (DNS rebinding), and that host's page then looks like the edge's own. So a name counts when the configuration says it or a certificate
// proves it, or when a page could do nothing with the edge anyway for lack of a token. Addresses and localhost are no names.
func (f *Front) knows(r *http.Request) bool {
	if f.cfg.PublicURL != "" || len(f.tokens) > 0 || r.TLS != nil {
		return true
	}
	own := url.URL{Host: strings.ToLower(r.Host)}
	host := own.Hostname()
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// base is the edge's address as the client sees it, without a trailing slash.
func (f *Front) base(r *http.Request) string {
	if f.cfg.PublicURL != "" {
		return f.cfg.PublicURL
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: r.Host}).String()
}

// ownOrigin is the origin of the edge's own page (RFC 6454 section 6.1).
func (f *Front) ownOrigin(r *http.Request) string {
	own, err := url.Parse(f.base(r))
	if err != nil {
		return ""
	}
	host := strings.ToLower(own.Host)
	if defaultPort := map[string]string{"http": ":80", "https": ":443"}[own.Scheme]; defaultPort != "" {
		host = strings.TrimSuffix(host, defaultPort)
	}
	return own.Scheme + "://" + host
}
