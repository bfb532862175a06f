package app

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	shared "github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
)

// exchange is one request and its whole answer.
type exchange struct {
	name string
	// edge is which of the edges is asked; empty is the one that is open to all.
	edge string
	// before are requests that come first. Their answers are not looked at.
	before []exchange
	method string
	// path may hold {session}: the path of a session that the request's sender began before; and so may the headers hold {etag}, its tag.
	path   string
	header map[string]string
	body   string

	status int
	code   string // of the problem; empty when there is none
	// want are the headers of the answer besides those that all have; a value that begins with ^ is a regular expression.
	want map[string]string
	// says and lacks are about the body.
	says, lacks []string
}

// always are the headers of every answer.
var always = map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Vary": "Origin", "Sluice-Protocol": "1"}

// conformant are the edges that the table is about, and where each is.
type conformant struct {
	t     *testing.T
	bases map[string]string
}

// TestConformance asks real edges over HTTP. The order of the table means nothing: no case knows of another.
func TestConformance(t *testing.T) {
	c := startConformant(t)
	cases := slices.Concat(endpointCases(), offerCases(), refusalCases(), accessCases(), patchCases(), sessionCases())
	if len(cases) < 40 {
		t.Errorf("the table has %d requests", len(cases))
	}
	names := make(map[string]bool)
	for _, x := range cases {
		if names[x.name] {
			t.Errorf("two cases are named %q", x.name)
		}
		names[x.name] = true
		t.Run(x.name, func(t *testing.T) { c.check(t, x) })
	}
	t.Logf("%d requests", len(cases))
}

// startConformant starts the edges; they end with the test.
func startConformant(t *testing.T) *conformant {
	t.Helper()
	router := listen(t)
	startRouter(t, router)
	c := &conformant{t: t, bases: make(map[string]string)}
	begin := func(name, router string, change func(*config.Config)) *rig {
		cfg := testConfig(router)
		cfg.Drain = shared.Duration(soon)
		change(&cfg)
		r := startEdge(t, cfg)
		t.Cleanup(r.stop)
		c.bases[name] = r.base
		return r
	}
	ready := func(r *rig) { r.eventually("ready", func() bool { return r.edge.ready() == nil }) }
	ready(begin("", router.Addr().String(), func(c *config.Config) { c.HTTP.Origins = []string{friend} }))
	ready(begin("strict", router.Addr().String(), func(c *config.Config) {
		c.HTTP.Origins, c.HTTP.Tokens, c.HTTP.StrictETag = []string{friend}, []config.Secret{tokenA, tokenB}, true
		c.HTTP.PublicURL = "https://edge.example/sluice"
		c.ICE.Servers = []config.ICEServer{{URLs: []string{"stun:stun.example"}}, {URLs: []string{"turn:turn.example"}, Secret: "north", TTL: shared.Duration(time.Hour)}}
	}))
	full := begin("full", router.Addr().String(), func(c *config.Config) { c.Limits.Sessions = 1 })
	ready(full)
	held := begin("draining", router.Addr().String(), func(*config.Config) {})
	ready(held)
	unconnected := listenNowhere(t)
	begin("alone", unconnected, func(*config.Config) {})
	for _, r := range []*rig{full, held} {
		client := r.publish()
		t.Cleanup(func() { _ = client.connection.Close() }) // before the edges end, so that these can
	}
	held.drain()
	held.eventually("draining", func() bool { return held.edge.manager.Draining() })
	return c
}

// listenNowhere gives an address at which nobody answers while the test runs.
func listenNowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// check does what the case says and compares the whole answer.
func (c *conformant) check(t *testing.T, x exchange) {
	t.Helper()
	fill := strings.NewReplacer()
	if strings.Contains(x.path, "{session}") {
		location, etag := c.begin(t, x)
		defer c.do(t, exchange{edge: x.edge, method: http.MethodDelete, path: location, header: map[string]string{"Authorization": "Bearer " + tokenA}}, fill)
		fill = strings.NewReplacer("{session}", location, "{etag}", etag)
	}
	for _, earlier := range x.before {
		c.do(t, earlier, fill)
	}
	status, header, body := c.do(t, x, fill)
	if location := header.Get("Location"); location != "" {
		defer c.do(t, exchange{edge: x.edge, method: http.MethodDelete, path: pathOf(location), header: x.header}, fill)
	}
	if status != x.status {
		t.Errorf("status %d, want %d; body %s", status, x.status, body)
	}
	want := maps.Clone(always)
	maps.Copy(want, x.want)
	if x.code != "" {
		maps.Copy(want, map[string]string{"Content-Type": "application/problem+json", "Cache-Control": "no-store", "Content-Length": "^[0-9]+$"})
		var problem struct {
			Code, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Code != x.code || problem.Status != x.status || problem.Title == "" || problem.Detail == "" {
			t.Errorf("the problem is %s (%v), want %s", body, err, x.code)
		}
	} else if len(x.says) == 0 && body != "" {
		t.Errorf("the answer has a body: %s", body)
	}
	compare(t, header, want)
	for _, part := range x.says {
		if !strings.Contains(body, part) {
			t.Errorf("the body lacks %q:\n%s", part, body)
		}
	}
	for _, part := range x.lacks {
		if strings.Contains(body, part) {
			t.Errorf("the body has %q:\n%s", part, body)
		}
	}
}

// compare fails for every header that is missing, different or too much.
func compare(t *testing.T, got http.Header, want map[string]string) {
	t.Helper()
	got.Del("Date")
	for name, value := range want {
		have := strings.Join(got.Values(name), " | ")
		got.Del(name)
		if pattern, ok := strings.CutPrefix(value, "^"); ok {
			if !regexp.MustCompile("^" + pattern).MatchString(have) {
				t.Errorf("%s is %q, want a match of %s", name, have, value)
			}
		} else if have != value {
			t.Errorf("%s is %q, want %q", name, have, value)
		}
	}
	for name, values := range got {
		t.Errorf("there is a header %s: %q", name, values)
	}
}

// begin publishes OBS's offer on behalf of client A and gives the path and the tag of the session.
func (c *conformant) begin(t *testing.T, x exchange) (path, etag string) {
	t.Helper()
	status, header, body := c.do(t, exchange{edge: x.edge, method: http.MethodPost, path: "/whip", body: obsOffer, header: map[string]string{
		"Content-Type": "application/sdp", "Authorization": "Bearer " + tokenA,
	}}, strings.NewReplacer())
	if status != http.StatusCreated {
		t.Fatalf("no session: %d %s", status, body)
	}
	return pathOf(header.Get("Location")), header.Get("ETag")
}

// pathOf gives the path of a resource below the edge's own address.
func pathOf(location string) string {
	_, secret, _ := strings.Cut(location, "/whip/")
	return "/whip/" + secret
}

// do sends a request and gives the answer.
func (c *conformant) do(t *testing.T, x exchange, fill *strings.Replacer) (status int, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), x.method, c.bases[x.edge]+fill.Replace(x.path), bytes.NewReader([]byte(fill.Replace(x.body))))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range x.header {
		request.Header.Set(name, fill.Replace(value))
	}
	if origin := request.Header.Get("Origin"); origin == "self" {
		request.Header.Set("Origin", c.bases[x.edge])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(content)
}
