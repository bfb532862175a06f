package front

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
)

const (
	trickled  = "a=ice-ufrag:first\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n"
	restarted = "a=ice-ufrag:second\r\na=ice-pwd:abcdefghijklmnopqrstuvwxyz\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:2 1 udp 1 192.0.2.9 9 typ host\r\n"
)

// Each case is a PATCH of a session whose ICE session is its first.
func TestWHIPPatch(t *testing.T) {
	t.Parallel()
	strict := func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.StrictETag = true }
	for name, tc := range map[string]struct {
		strict      bool
		match       string // of If-Match; "-": none
		contentType string
		body        string
		status      int
		code        Code
	}{
		"candidate":                          {match: `"ice1"`, body: trickled, status: http.StatusNoContent},
		"candidate, strictly":                {strict: true, match: `"ice1"`, body: trickled, status: http.StatusNoContent},
		"candidate without a tag":            {match: "-", body: trickled, status: http.StatusNoContent},
		"candidate without a tag, strictly":  {strict: true, match: "-", body: trickled, status: http.StatusPreconditionRequired, code: codePreconditionRequired},
		"candidate with an empty tag":        {strict: true, match: " , ", body: trickled, status: http.StatusPreconditionRequired, code: codePreconditionRequired},
		"candidate of another session":       {match: `"ice0"`, body: trickled, status: http.StatusPreconditionFailed, code: codePreconditionFailed},
		"candidate of another, strictly":     {strict: true, match: `"ice0"`, body: trickled, status: http.StatusPreconditionFailed, code: codePreconditionFailed},
		"candidate for any session":          {match: `*`, body: trickled, status: http.StatusNoContent},
		"one tag of a list":                  {strict: true, match: `"ice0", "ice1"`, body: trickled, status: http.StatusNoContent},
		"no tag of a list":                   {match: `"ice0", "ice2"`, body: trickled, status: http.StatusPreconditionFailed, code: codePreconditionFailed},
		"weak tag":                           {match: `W/"ice1"`, body: trickled, status: http.StatusNoContent},
		"weak tag, strictly":                 {strict: true, match: `W/"ice1"`, body: trickled, status: http.StatusPreconditionFailed, code: codePreconditionFailed},
		"tag without quotes":                 {match: `ice1`, body: trickled, status: http.StatusNoContent},
		"tag without quotes, strictly":       {strict: true, match: `ice1`, body: trickled, status: http.StatusPreconditionFailed, code: codePreconditionFailed},
		"end of candidates":                  {match: `"ice1"`, body: "a=end-of-candidates\r\n", status: http.StatusNoContent},
		"restart":                            {match: `*`, body: restarted, status: http.StatusOK},
		"restart, as the RFC's example has":  {strict: true, match: `"*"`, body: restarted, status: http.StatusOK},
		"restart of the session that is":     {strict: true, match: `"ice1"`, body: restarted, status: http.StatusOK},
		"restart without a tag":              {match: "-", body: restarted, status: http.StatusOK},
		"restart of another session":         {match: `"ice0"`, body: restarted, status: http.StatusPreconditionFailed, code: codePreconditionFailed},
		"restart that cannot be":             {match: `*`, body: strings.Replace(restarted, "second", "full", 1), status: http.StatusBadRequest, code: codeInvalidSDP},
		"no fragment":                        {match: `"ice1"`, body: "", status: http.StatusBadRequest, code: codeInvalidSDP},
		"nonsense":                           {match: `"ice1"`, body: "hello", status: http.StatusBadRequest, code: codeInvalidSDP},
		"nonsense with another session's":    {match: `"ice0"`, body: "hello", status: http.StatusBadRequest, code: codeInvalidSDP},
		"an offer":                           {match: `"ice1"`, contentType: sdpType, body: offerSDP, status: http.StatusUnsupportedMediaType, code: codeUnsupportedMediaType},
		"type with parameters":               {match: `"ice1"`, contentType: sdpfrag.Type + "; charset=utf-8", body: trickled, status: http.StatusNoContent},
		"more than a body may have of bytes": {match: `"ice1"`, body: trickled + strings.Repeat("a", maxOffer), status: http.StatusRequestEntityTooLarge, code: codeBodyTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, sessions := fixture(t, nil)
			if tc.strict {
				f, sessions = fixture(t, strict)
			}
			post().do(t, f)
			patch := request{method: http.MethodPatch, path: "/whip/SECRETsession1", body: tc.body, header: map[string]string{"Content-Type": sdpfrag.Type}}
			if tc.contentType != "" {
				patch.header["Content-Type"] = tc.contentType
			}
			if tc.match != "-" {
				patch.header["If-Match"] = tc.match
			}
			response := patch.do(t, f)
			session := sessions.get(t, "session1")
			if tc.code != "" {
				checkProblem(t, response, tc.status, tc.code)
				if len(session.candidates) != 0 || session.restarts != 0 {
					t.Error("a refused fragment was taken")
				}
				if tc.status == http.StatusUnsupportedMediaType && response.Header.Get("Accept-Patch") != sdpfrag.Type {
					t.Errorf("Accept-Patch is %q", response.Header.Get("Accept-Patch"))
				}
				return
			}
			checkPatched(t, response, tc.status)
			if tc.body != "a=end-of-candidates\r\n" && len(session.candidates) != 1 {
				t.Errorf("the session got %q", session.candidates)
			}
		})
	}
}

// checkPatched fails unless a PATCH was answered as RFC 9725 section 4.3 says.
func checkPatched(t *testing.T, response answer, status int) {
	t.Helper()
	body, tag, kind := bodyOf(t, response), response.Header.Get("ETag"), response.Header.Get("Content-Type")
	if response.StatusCode != status {
		t.Fatalf("status %d, want %d; body %s", response.StatusCode, status, body)
	}
	if status == http.StatusNoContent {
		if body != "" || tag != "" || kind != "" {
			t.Errorf("an answer to candidates has the body %q of type %q and the tag %q", body, kind, tag)
		}
		return
	}
	want := "a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ice2\r\na=ice-pwd:0123456789012345678901\r\n" +
		"a=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\na=end-of-candidates\r\n"
	if body != want || tag != `"ice2"` || kind != sdpfrag.Type || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer has the body %q of type %q and the tag %q", body, kind, tag)
	}
}

// The tag of the restart's answer is the one that counts afterwards; another client's token does not restart.
func TestWHIPPatchAfterARestart(t *testing.T) {
	t.Parallel()
	f, sessions := fixture(t, withTokens)
	location := post(withHeader("Authorization", "Bearer "+tokenA)).do(t, f).Header.Get("Location")
	path := strings.TrimPrefix(location, "http://edge.example:8080")
	patch := func(token, match, body string) answer {
		return request{method: http.MethodPatch, path: path, body: body, header: map[string]string{
			"Authorization": "Bearer " + token, "If-Match": match, "Content-Type": sdpfrag.Type,
		}}.do(t, f)
	}
	checkProblem(t, patch(tokenB, "*", restarted), http.StatusNotFound, codeSessionNotFound)
	checkProblem(t, patch("", "*", restarted), http.StatusUnauthorized, codeUnauthorized)
	checkPatched(t, patch(tokenA, "*", restarted), http.StatusOK)
	checkProblem(t, patch(tokenA, `"ice1"`, trickled), http.StatusPreconditionFailed, codePreconditionFailed)
	checkPatched(t, patch(tokenA, `"ice2"`, trickled), http.StatusNoContent)
	if s := sessions.get(t, "session1"); s.restarts != 1 || len(s.candidates) != 2 {
		t.Errorf("the session restarted %d times and got %q", s.restarts, s.candidates)
	}
	response := request{method: http.MethodGet, path: path, header: map[string]string{"Authorization": "Bearer " + tokenA}}.do(t, f)
	if response.StatusCode != http.StatusNoContent || bodyOf(t, response) != "" {
		t.Errorf("GET of a session gives %d", response.StatusCode)
	}
}

// OPTIONS tells of ICE servers, which may have credentials, whom POST would tell of them, and never a preflight, which has no token.
func TestWHIPTellsOfICEServersBeforeTheOffer(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, func(cfg *Config, s *fakeSessions, c *fakeCatalog) {
		withTokens(cfg, s, c)
		cfg.ICEServers = []ICEServer{{URLs: []string{"turn:turn.example"}, Username: "u", Credential: "c"}}
	})
	for name, tc := range map[string]struct {
		header map[string]string
		want   []string
	}{
		"with a token":         {map[string]string{"Authorization": "Bearer " + tokenA}, []string{`<turn:turn.example>; rel="ice-server"; username="u"; credential="c"; credential-type="password"`}},
		"without":              {nil, nil},
		"with a stranger's":    {map[string]string{"Authorization": "Bearer x"}, nil},
		"a browser's question": {map[string]string{"Authorization": "Bearer " + tokenA, "Origin": friend, "Access-Control-Request-Method": "OPTIONS"}, nil},
	} {
		response := request{method: http.MethodOptions, path: "/whip", header: tc.header}.do(t, f)
		if got := response.Header.Values("Link"); response.StatusCode != http.StatusNoContent || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %d with Link %q", name, response.StatusCode, got)
		}
	}
}
