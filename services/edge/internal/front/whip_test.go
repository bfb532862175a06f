package front

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type whipCase struct {
	change  func(*Config, *fakeSessions, *fakeCatalog)
	request request
	status  int
	code    Code              // of the problem; empty when there is none
	header  map[string]string // exact values
}

func post(change ...func(*request)) request {
	r := request{method: http.MethodPost, path: "/whip", body: offerSDP, header: map[string]string{}}
	for _, c := range change {
		c(&r)
	}
	return r
}

func withHeader(name, value string) func(*request) {
	return func(r *request) { r.header[name] = value }
}

func withHost(host string) func(*request) { return func(r *request) { r.host = host } }

func withBody(text string) func(*request) { return func(r *request) { r.body = text } }

func at(p string) func(*request) { return func(r *request) { r.path = p } }

var whipCases = map[string]whipCase{
	"publish": {
		request: post(), status: http.StatusCreated,
		header: map[string]string{
			"Content-Type": "application/sdp", "Location": "http://edge.example:8080/whip/SECRETsession1",
			"Link": `<http://edge.example:8080/sessions/session1/results>; rel="urn:ietf:params:whip:ext:sluice:results"`, "Cache-Control": "no-store",
			"ETag": `"ice1"`, "Sluice-Protocol": "1",
		},
	},
	"publish to some models":   {request: post(at("/whip?model=faces&model=faces")), status: http.StatusCreated},
	"publish, type parameters": {request: post(withHeader("Content-Type", "Application/SDP; charset=utf-8")), status: http.StatusCreated},
	"publish, identity coding": {request: post(withHeader("Content-Encoding", "identity")), status: http.StatusCreated},
	"publish behind a proxy": {
		change:  func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.PublicURL = "https://sluice.example/edge" },
		request: post(withHeader("Origin", "https://sluice.example")), status: http.StatusCreated,
		header: map[string]string{"Location": "https://sluice.example/edge/whip/SECRETsession1"},
	},
	"no content type":    {request: post(withHeader("Content-Type", "")), status: http.StatusUnsupportedMediaType, code: codeUnsupportedMediaType, header: map[string]string{"Accept-Post": "application/sdp"}},
	"wrong content type": {request: post(withHeader("Content-Type", "application/json")), status: http.StatusUnsupportedMediaType, code: codeUnsupportedMediaType},
	"compressed":         {request: post(withHeader("Content-Encoding", "gzip")), status: http.StatusUnsupportedMediaType, code: codeUnsupportedMediaType},
	"64 KiB":             {request: post(withBody(padded(maxOffer))), status: http.StatusCreated},
	"64 KiB and one":     {request: post(withBody(padded(maxOffer + 1))), status: http.StatusRequestEntityTooLarge, code: codeBodyTooLarge},
	"empty":              {request: post(withBody("")), status: http.StatusBadRequest, code: codeInvalidSDP},
	"blank":              {request: post(withBody("\r\n ")), status: http.StatusBadRequest, code: codeInvalidSDP},
	"garbage":            {request: post(withBody("hello")), status: http.StatusBadRequest, code: codeInvalidSDP},
	"zeros":              {request: post(withBody("\x00\x00\xff")), status: http.StatusBadRequest, code: codeInvalidSDP},
	"unknown model":      {request: post(at("/whip?model=nobody")), status: http.StatusUnprocessableEntity, code: "UNKNOWN_MODEL"},
	"empty model":        {request: post(at("/whip?model=")), status: http.StatusBadRequest, code: codeInvalidRequest},
	"endless model":      {request: post(at("/whip?model=" + strings.Repeat("m", 65))), status: http.StatusBadRequest, code: codeInvalidRequest},
	"too many models":    {request: post(at("/whip?" + strings.Repeat("model=faces&", 65))), status: http.StatusBadRequest, code: codeInvalidRequest},
	"defect":             {request: post(withBody(offerSDP + "defect")), status: http.StatusInternalServerError, code: codeInternal},
	"panic":              {request: post(withBody(offerSDP + "panic")), status: http.StatusInternalServerError, code: codeInternal},
	// Neither the endpoint nor a session has a representation (RFC 9725 section 4.1).
	"GET on the endpoint":    {request: request{method: http.MethodGet, path: "/whip"}, status: http.StatusNoContent, header: map[string]string{"Sluice-Protocol": "1"}},
	"HEAD on the endpoint":   {request: request{method: http.MethodHead, path: "/whip"}, status: http.StatusNoContent},
	"PUT on the endpoint":    {request: request{method: http.MethodPut, path: "/whip"}, status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed, header: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}},
	"PATCH on the endpoint":  {request: request{method: http.MethodPatch, path: "/whip"}, status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed, header: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}},
	"POST on a resource":     {request: request{method: http.MethodPost, path: "/whip/SECRETx"}, status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed, header: map[string]string{"Allow": "DELETE, GET, HEAD, PATCH, OPTIONS"}},
	"GET of nothing":         {request: request{method: http.MethodGet, path: "/whip/SECRETx"}, status: http.StatusNotFound, code: codeSessionNotFound},
	"PATCH of nothing":       {request: request{method: http.MethodPatch, path: "/whip/SECRETx"}, status: http.StatusNotFound, code: codeSessionNotFound},
	"strange method":         {request: request{method: "BREW", path: "/whip"}, status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed, header: map[string]string{"Allow": "GET, HEAD, POST, OPTIONS"}},
	"DELETE of nothing":      {request: request{method: http.MethodDelete, path: "/whip/guess"}, status: http.StatusNotFound, code: codeSessionNotFound},
	"below a resource":       {request: request{method: http.MethodDelete, path: "/whip/a/b"}, status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed},
	"full":                   {change: func(_ *Config, s *fakeSessions, _ *fakeCatalog) { s.capacity = 0 }, request: post(), status: http.StatusServiceUnavailable, code: "TOO_MANY_SESSIONS", header: map[string]string{"Retry-After": "5"}},
	"no router":              {change: func(_ *Config, s *fakeSessions, _ *fakeCatalog) { s.routerless = true }, request: post(), status: http.StatusServiceUnavailable, code: codeNoRouter, header: map[string]string{"Retry-After": "2"}},
	"no router, and garbage": {change: func(_ *Config, s *fakeSessions, _ *fakeCatalog) { s.routerless = true }, request: post(withBody("hello")), status: http.StatusBadRequest, code: codeInvalidSDP},
	"no token": {
		change: withTokens, request: post(), status: http.StatusUnauthorized, code: codeUnauthorized,
		header: map[string]string{"WWW-Authenticate": `Bearer realm="sluice"`},
	},
	"wrong token": {
		change: withTokens, request: post(withHeader("Authorization", "Bearer "+tokenA+"x")), status: http.StatusUnauthorized, code: codeUnauthorized,
		header: map[string]string{"WWW-Authenticate": `Bearer realm="sluice", error="invalid_token"`},
	},
	"token by another scheme": {change: withTokens, request: post(withHeader("Authorization", "Basic "+tokenA)), status: http.StatusUnauthorized, code: codeUnauthorized},
	"token in the URL":        {change: withTokens, request: post(at("/whip?token=" + tokenA)), status: http.StatusUnauthorized, code: codeUnauthorized},
	"token":                   {change: withTokens, request: post(withHeader("Authorization", "bearer "+tokenB)), status: http.StatusCreated},
	"DELETE without a token":  {change: withTokens, request: request{method: http.MethodDelete, path: "/whip/x"}, status: http.StatusUnauthorized, code: codeUnauthorized},
	"own origin, by address": {
		request: post(withHost("192.0.2.7:8080"), withHeader("Origin", "http://192.0.2.7:8080")), status: http.StatusCreated,
		header: map[string]string{"Vary": "Origin", "Access-Control-Allow-Origin": ""},
	},
	"own origin, by IPv6 address": {request: post(withHost("[2001:db8::7]:8080"), withHeader("Origin", "http://[2001:db8::7]:8080")), status: http.StatusCreated},
	"own origin, localhost":       {request: post(withHost("LocalHost:8080"), withHeader("Origin", "http://localhost:8080")), status: http.StatusCreated},
	"own origin, below localhost": {request: post(withHost("edge.localhost"), withHeader("Origin", "http://edge.localhost")), status: http.StatusCreated},
	// Any name can be made to resolve to the edge (DNS rebinding).
	"own origin by a name that nobody configured": {
		request: post(withHeader("Origin", "http://edge.example:8080")), status: http.StatusForbidden, code: codeOriginNotAllowed,
	},
	"own origin by a name like localhost": {
		request: post(withHost("localhost.evil.example"), withHeader("Origin", "http://localhost.evil.example")), status: http.StatusForbidden, code: codeOriginNotAllowed,
	},
	"own origin by a name that is public_url": {
		change:  func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.PublicURL = "http://edge.example:8080" },
		request: post(withHeader("Origin", "http://edge.example:8080")), status: http.StatusCreated,
	},
	"own origin by a name among the origins": {
		change:  func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.Origins = []string{"http://edge.example:8080"} },
		request: post(withHeader("Origin", "http://edge.example:8080")), status: http.StatusCreated,
	},
	"own origin by a name, with a token": {
		change:  withTokens,
		request: post(withHeader("Origin", "http://edge.example:8080"), withHeader("Authorization", "Bearer "+tokenA)), status: http.StatusCreated,
	},
	"friendly origin": {
		request: post(withHeader("Origin", friend)), status: http.StatusCreated,
		header: map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Expose-Headers": "Location, Link, Retry-After, ETag, Accept-Post, Accept-Patch, Access-Control-Allow-Methods, Sluice-Protocol", "Vary": "Origin"},
	},
	"friendly origin's problem is readable": {
		request: post(withHeader("Origin", friend), withBody("")), status: http.StatusBadRequest, code: codeInvalidSDP, header: map[string]string{"Access-Control-Allow-Origin": friend},
	},
	"foreign origin":      {request: post(withHeader("Origin", "https://evil.example")), status: http.StatusForbidden, code: codeOriginNotAllowed, header: map[string]string{"Access-Control-Allow-Origin": ""}},
	"null origin":         {request: post(withHeader("Origin", "null")), status: http.StatusForbidden, code: codeOriginNotAllowed},
	"origin with suffix":  {request: post(withHeader("Origin", friend+".evil.example")), status: http.StatusForbidden, code: codeOriginNotAllowed},
	"origin's other port": {request: post(withHeader("Origin", friend+":8443")), status: http.StatusForbidden, code: codeOriginNotAllowed},
	"own host, other scheme": {
		request: post(withHeader("Origin", "https://edge.example:8080")), status: http.StatusForbidden, code: codeOriginNotAllowed,
	},
	"preflight": {
		change:  withTokens, // browsers ask without one
		request: request{method: http.MethodOptions, path: "/whip", header: map[string]string{"Origin": friend, "Access-Control-Request-Method": "POST"}},
		status:  http.StatusNoContent,
		header: map[string]string{
			"Access-Control-Allow-Origin": friend, "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS", "Access-Control-Allow-Headers": "Authorization, Content-Type, ETag, If-Match, Last-Event-ID",
			"Access-Control-Max-Age": "600", "Vary": "Origin", "Accept-Post": "application/sdp", "Allow": "GET, HEAD, POST, OPTIONS", "Link": "",
		},
	},
	"preflight of a resource": {
		request: request{method: http.MethodOptions, path: "/whip/x", header: map[string]string{"Origin": friend, "Access-Control-Request-Method": "DELETE"}},
		status:  http.StatusNoContent, header: map[string]string{"Access-Control-Allow-Methods": "DELETE, GET, HEAD, PATCH, OPTIONS", "Accept-Patch": "application/trickle-ice-sdpfrag"},
	},
	"preflight from a foreign origin": {
		request: request{method: http.MethodOptions, path: "/whip", header: map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}},
		status:  http.StatusForbidden, code: codeOriginNotAllowed, header: map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": ""},
	},
	"OPTIONS of a tool": {
		request: request{method: http.MethodOptions, path: "/whip"}, status: http.StatusNoContent,
		header: map[string]string{"Accept-Post": "application/sdp", "Allow": "GET, HEAD, POST, OPTIONS", "Access-Control-Allow-Methods": "DELETE, OPTIONS, PATCH, POST"},
	},
}

func padded(size int) string { return offerSDP + strings.Repeat("a", size-len(offerSDP)) }

func TestWHIP(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(whipCases)) {
		tc := whipCases[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := fixture(t, tc.change)
			response := tc.request.do(t, f)
			switch {
			case tc.code != "":
				checkProblem(t, response, tc.status, tc.code)
			case response.StatusCode != tc.status:
				t.Errorf("status %d, want %d", response.StatusCode, tc.status)
			case tc.status == http.StatusCreated && bodyOf(t, response) != "v=0 answer to session1":
				t.Error("the body is not the answer")
			}
			for key, want := range tc.header {
				if got := response.Header.Get(key); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
			if got := response.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options is %q", got)
			}
		})
	}
}

func TestWHIPTellsOfICEServers(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) {
		cfg.ICEServers = []ICEServer{
			{URLs: []string{"stun:stun.example:3478"}},
			{URLs: []string{"turn:turn.example?transport=udp", "turns:turn.example"}, Username: `a "b"`, Credential: `c\d`},
		}
	})
	got := post().do(t, f).Header.Values("Link")
	credentials := `; username="a \"b\""; credential="c\\d"; credential-type="password"`
	want := []string{
		`<stun:stun.example:3478>; rel="ice-server"`,
		`<turn:turn.example?transport=udp>; rel="ice-server"` + credentials,
		`<turns:turn.example>; rel="ice-server"` + credentials,
		`<http://edge.example:8080/sessions/session1/results>; rel="urn:ietf:params:whip:ext:sluice:results"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("Link is\n%q\nwant\n%q", got, want)
	}
}

// A session is deleted once, and only with the token that made it.
func TestWHIPDelete(t *testing.T) {
	t.Parallel()
	f, sessions := fixture(t, withTokens)
	location := post(withHeader("Authorization", "Bearer "+tokenA)).do(t, f).Header.Get("Location")
	session := sessions.get(t, "session1")
	resource, ok := strings.CutPrefix(location, "http://edge.example:8080/whip/")
	if !ok || !strings.HasPrefix(resource, session.secret) {
		t.Fatalf("Location is %q", location)
	}
	remove := func(resource, token string) answer {
		return request{method: http.MethodDelete, path: "/whip/" + resource, header: map[string]string{"Authorization": "Bearer " + token}}.do(t, f)
	}
	checkProblem(t, remove(resource, tokenB), http.StatusNotFound, codeSessionNotFound)
	checkProblem(t, remove(session.secret, tokenA), http.StatusNotFound, codeSessionNotFound)
	checkProblem(t, remove(session.id, tokenA), http.StatusNotFound, codeSessionNotFound)
	if session.closed != "" {
		t.Fatal("a stranger closed the session")
	}
	if response := remove(resource, tokenA); response.StatusCode != http.StatusOK || bodyOf(t, response) != "" {
		t.Errorf("DELETE gave %d, want an empty 200", response.StatusCode)
	}
	if session.closed == "" {
		t.Error("the session goes on")
	}
	checkProblem(t, remove(resource, tokenA), http.StatusNotFound, codeSessionNotFound)
}

func TestWHIPHandsTheOfferOver(t *testing.T) {
	t.Parallel()
	f, sessions := fixture(t, nil)
	post(at("/whip?model=faces")).do(t, f)
	got := sessions.created[0]
	if got.SDP != offerSDP || got.ID != "session1" || !slices.Equal(got.Models, []string{"faces"}) || got.Trickle != nil {
		t.Errorf("the session was created for %+v", got)
	}
}
