package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v4"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/cluster"
)

const (
	// minToken is the length below which a token can be guessed.
	minToken = 16
	// minMessage holds a small picture; below it no client works.
	minMessage = 64 << 10
	maxMessage = 64 << 20
	// minDecoderMemory is what the decoder needs for its own code and one small picture.
	minDecoderMemory = 64 << 20
	maxSessions      = 100_000
	maxChannels      = 1024
	maxDrain         = 10 * time.Minute
	// A client may wait at the camera's permission before it uses what it was told.
	minTURNLife = time.Minute
	maxTURNLife = 30 * 24 * time.Hour
)

// tokenAlphabet is what may stand in an Authorization header (RFC 6750 section 2.1) and in a WebSocket subprotocol (RFC 9110 section 5.6.2).
const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+"

// complaints collects what is wrong, each with the key it is about.
type complaints []error

func (c *complaints) add(key, format string, args ...any) {
	*c = append(*c, fmt.Errorf("%w: %s: %s", config.ErrInvalid, key, fmt.Sprintf(format, args...)))
}

func (c *complaints) between(key string, value, least, most int64) {
	if value < least || value > most {
		c.add(key, "%d is not between %d and %d", value, least, most)
	}
}

// Validate tells everything that is wrong with the configuration, each with its key. All errors wrap the shared config.ErrInvalid.
func (c *Config) Validate() error {
	var wrong complaints
	c.HTTP.validate(&wrong)
	c.ICE.validate(&wrong)
	c.Router.validate(&wrong)
	c.Cluster.validate(&wrong)
	c.Limits.validate(&wrong)
	if c.Decoder.Path == "" {
		wrong.add("decoder.path", "is empty: name the sluice-decoder program")
	}
	listen(&wrong, "grpc.listen", c.GRPC.Listen)
	listen(&wrong, "admin.listen", c.Admin.Listen)
	oneOf(&wrong, "log.format", c.Log.Format, "text", "json")
	if err := c.Trace.Validate("trace"); err != nil {
		wrong = append(wrong, err)
	}
	if time.Duration(c.Drain) > maxDrain {
		wrong.add("drain", "%v is more than %v", time.Duration(c.Drain), maxDrain)
	}
	return errors.Join(wrong...)
}

func (h *HTTP) validate(wrong *complaints) {
	listen(wrong, "http.listen", h.Listen)
	if h.PublicURL != "" {
		u, err := url.Parse(h.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			wrong.add("http.public_url", "%q is no address: write https://host, with a path if a proxy adds one", h.PublicURL)
		}
	}
	h.TLS.validate(wrong, "http.tls")
	for i, origin := range h.Origins {
		if !isOrigin(origin) {
			wrong.add(fmt.Sprintf("http.origins[%d]", i),
				"%q is no origin as browsers send it: write https://host or https://host:port, in lower case, without a path or a default port", origin)
		}
	}
	for i, token := range h.Tokens {
		token.validate(wrong, fmt.Sprintf("http.tokens[%d]", i))
	}
	first := make(map[Secret]int)
	for i, client := range h.Clients {
		key := fmt.Sprintf("http.clients[%d]", i)
		client.Token.validate(wrong, key+".token")
		if client.Weight < 0 || client.Weight > media.MaxWeight {
			wrong.add(key+".weight", "%d is not between 1 and %d", client.Weight, media.MaxWeight)
		}
		if client.Class < 0 || client.Class > media.MaxClass {
			wrong.add(key+".class", "%d is not between 0, which is served first, and %d", client.Class, media.MaxClass)
		}
		if earlier, twice := first[client.Token]; twice {
			wrong.add(key+".token", "is that of http.clients[%d] too: one token has one share", earlier)
			continue
		}
		first[client.Token] = i
	}
}

// validate checks a token, which is not repeated in what is said of it: errors are logged.
func (s Secret) validate(wrong *complaints, key string) {
	if len(s) < minToken {
		wrong.add(key, "has %d characters and can be guessed: use at least %d", len(s), minToken)
	}
	if strings.Trim(string(s), tokenAlphabet) != "" {
		wrong.add(key, "holds a character that cannot travel as a WebSocket subprotocol: use letters, digits and -._~+")
	}
}

func (k KeyPair) validate(wrong *complaints, key string) {
	if (k.Cert == "") != (k.Key == "") {
		wrong.add(key, "cert and key belong together: give both or none")
	}
}

func (i *ICE) validate(wrong *complaints) {
	listen(wrong, "ice.udp", i.UDP)
	if i.TCP != "" {
		listen(wrong, "ice.tcp", i.TCP)
	}
	for n, address := range i.Addresses {
		if parsed, err := netip.ParseAddr(address); err != nil || parsed.IsUnspecified() {
			wrong.add(fmt.Sprintf("ice.addresses[%d]", n), "%q is no IP address", address)
		}
	}
	for n, server := range i.Servers {
		server.validate(wrong, fmt.Sprintf("ice.servers[%d]", n))
	}
}

func (s ICEServer) validate(wrong *complaints, key string) {
	if len(s.URLs) == 0 {
		wrong.add(key, "has no urls: write urls: [\"stun:host:3478\"]")
	}
	for _, address := range s.URLs {
		uri, err := stun.ParseURI(address)
		switch {
		case err != nil:
			wrong.add(key, "%q is no STUN or TURN address (RFC 7064, RFC 7065): write stun:host:port or turn:host:port", address)
		case (uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS) && s.Secret == "" && (s.Username == "" || s.Credential == ""):
			wrong.add(key, "%q needs username and credential, or the secret that the TURN server checks time-limited ones with", address)
		}
	}
	switch life := time.Duration(s.TTL); {
	case s.Secret != "" && (s.Username != "" || s.Credential != ""):
		wrong.add(key, "has a secret and a username or credential: give the one or the other")
	case s.Secret == "" && life != 0:
		wrong.add(key, "has a ttl without a secret: credentials that are the same for everybody do not expire")
	case life != 0 && (life < minTURNLife || life > maxTURNLife):
		wrong.add(key, "ttl: %v is not between %v and %v", life, minTURNLife, maxTURNLife)
	}
}

func (r *Router) validate(wrong *complaints) {
	if r.Target == "" {
		wrong.add("router.target", "is empty: write dns:///host:50051")
	}
	KeyPair{Cert: r.TLS.Cert, Key: r.TLS.Key}.validate(wrong, "router.tls")
	if r.TLS.CA == "" && r.TLS.Cert != "" {
		wrong.add("router.tls.ca", "is empty: a client certificate needs the routers' CA too")
	}
	if r.TLS.CA == "" && r.TLS.Name != "" {
		wrong.add("router.tls.name", "is of no use on a plaintext connection: give the routers' CA too")
	}
}

func (c *Cluster) validate(wrong *complaints) {
	wrong.between("cluster.port", int64(c.Port), 1, 65535)
	for name, address := range c.Members {
		key := "cluster.members." + name
		if !cluster.ValidName(name) {
			wrong.add(key, "is no name of an edge: at most %d of the letters a to z, digits and hyphens", cluster.MaxName)
		}
		if _, err := cluster.ParseMember(address); err != nil {
			wrong.add(key, "%v", err)
		}
	}
	switch {
	case c.Domain != "" && len(c.Members) > 0:
		wrong.add("cluster", "domain and members both say where the other edges are: give one")
	case c.Name == "" && (c.Domain != "" || len(c.Members) > 0):
		wrong.add("cluster.name", "is empty: the other edges know this one by it; in Kubernetes it is the pod's name")
	case c.Name != "" && c.Domain == "" && len(c.Members) == 0:
		wrong.add("cluster", "has a name, but neither domain nor members say where the other edges are")
	case c.Name != "" && !cluster.ValidName(c.Name):
		wrong.add("cluster.name", "%.64q is no name of an edge: at most %d of the letters a to z, digits and hyphens", c.Name, cluster.MaxName)
	}
}

func (l *Limits) validate(wrong *complaints) {
	wrong.between("limits.sessions", int64(l.Sessions), 1, maxSessions)
	wrong.between("limits.channels", int64(l.Channels), 1, maxChannels)
	if l.Bitrate == 0 {
		wrong.add("limits.bitrate", "is 0: nothing could be received")
	}
	if l.Pixels.Width == 0 || l.Pixels.Height == 0 {
		wrong.add("limits.pixels", "is empty: write 1920x1088")
	}
	if l.Message < minMessage || l.Message > maxMessage {
		wrong.add("limits.message", "%s is not between 64KiB and 64MiB", text(l.Message))
	}
	if l.DecoderMemory < minDecoderMemory {
		wrong.add("limits.decoder_memory", "%s is less than a decoder needs: at least 64MiB", text(l.DecoderMemory))
	}
}

// listen checks an address to listen on: host:port, where the host may be missing and the port a number.
func listen(wrong *complaints, key, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		wrong.add(key, "%q is no address to listen on: write :PORT or HOST:PORT", address)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		wrong.add(key, "%q has no port between 0 and 65535", address)
	}
	if strings.ContainsAny(host, "/ ") {
		wrong.add(key, "%q is no host", host)
	}
}

func oneOf(wrong *complaints, key, value string, words ...string) {
	for _, word := range words {
		if value == word {
			return
		}
	}
	wrong.add(key, "%q is none of %s", value, strings.Join(words, ", "))
}

// isOrigin tells whether a text is what a browser sends as Origin (RFC 6454 section 7), which is compared byte by byte.
func isOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false
	}
	if u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443" {
		return false
	}
	return u.Scheme+"://"+u.Host == origin && strings.ToLower(origin) == origin && !strings.Contains(origin, "*")
}

func text(size config.Bytes) string {
	written, err := size.MarshalText()
	if err != nil {
		return strconv.FormatInt(int64(size), 10)
	}
	return string(written)
}
