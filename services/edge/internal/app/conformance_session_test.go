package app

import (
	"net/http"
	"strings"
)

// patch is a PATCH of client A's session.
func patch(name, match, body string, status int, code string) exchange {
	x := exchange{
		name: name, method: http.MethodPatch, path: "{session}", body: body, status: status, code: code,
		header: map[string]string{"Content-Type": fragmentType, "Authorization": "Bearer " + tokenA},
	}
	if match != "" {
		x.header["If-Match"] = match
	}
	if status == http.StatusOK {
		x.want = map[string]string{"Content-Type": fragmentType, "Content-Length": "^[0-9]+$", "Cache-Control": "no-store", "ETag": tagPattern}
		x.says = []string{"a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:", "\r\na=ice-pwd:", "\r\na=candidate:", "\r\na=end-of-candidates\r\n"}
		x.lacks = []string{"v=0", "fingerprint", "rtpmap", "m=video"}
	}
	return x
}

func strictly(x exchange) exchange {
	x.name, x.edge = x.name+", strictly", "strict"
	return x
}

func after(x exchange, before ...exchange) exchange {
	x.before = before
	return x
}

// patchCases are about trickled candidates and ICE restarts (RFC 9725 section 4.3).
func patchCases() []exchange {
	begun := patch("", "*", restart, http.StatusOK, "")
	begunStrictly := begun
	begunStrictly.edge = "strict"
	wrongType := patch("a fragment that says it is an offer", "{etag}", candidates, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
	wrongType.header["Content-Type"], wrongType.want = "application/sdp", map[string]string{"Accept-Patch": fragmentType}
	unknown := patch("PATCH of nothing", "*", candidates, http.StatusNotFound, "SESSION_NOT_FOUND")
	unknown.path = "/whip/aaaaaaaaaaaaaaaaaaaaaaaaaa"
	another := strictly(patch("PATCH by another client", "{etag}", candidates, http.StatusNotFound, "SESSION_NOT_FOUND"))
	another.header["Authorization"] = "Bearer " + tokenB
	nobody := strictly(patch("PATCH without a token", "{etag}", candidates, http.StatusUnauthorized, "UNAUTHORIZED"))
	delete(nobody.header, "Authorization")
	nobody.want = map[string]string{"WWW-Authenticate": `Bearer realm="sluice"`}
	page := with(patch("", "{etag}", candidates, http.StatusNoContent, ""), "PATCH by a friend's page", map[string]string{"Origin": friend})
	page.want = map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Expose-Headers": exposed}
	return []exchange{
		patch("candidates", "{etag}", candidates, http.StatusNoContent, ""),
		strictly(patch("candidates", "{etag}", candidates, http.StatusNoContent, "")),
		patch("candidates without a tag", "", candidates, http.StatusNoContent, ""),
		strictly(patch("candidates without a tag", "", candidates, http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")),
		patch("candidates with a weak tag", "W/{etag}", candidates, http.StatusNoContent, ""),
		strictly(patch("candidates with a weak tag", "W/{etag}", candidates, http.StatusPreconditionFailed, "PRECONDITION_FAILED")),
		patch("candidates for any ICE session", "*", candidates, http.StatusNoContent, ""),
		patch("candidates of another ICE session", `"other"`, candidates, http.StatusPreconditionFailed, "PRECONDITION_FAILED"),
		strictly(patch("candidates of another ICE session", `"other"`, candidates, http.StatusPreconditionFailed, "PRECONDITION_FAILED")),
		patch("candidates that nobody can reach", "{etag}", "a=candidate:1 1 udp 1 5f2d8c1e-0000-4000-8000-000000000000.local 9 typ host\r\na=candidate:2 1 udp 1 169.254.169.254 9 typ host\r\na=candidate:x\r\n", http.StatusNoContent, ""),
		patch("a candidate alone", "{etag}", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host", http.StatusNoContent, ""),
		patch("the end of candidates", "{etag}", "a=end-of-candidates\r\n", http.StatusNoContent, ""),
		page, wrongType, unknown, another, nobody,
		patch("an empty fragment", "{etag}", "", http.StatusBadRequest, "INVALID_SDP"),
		patch("no fragment", "{etag}", `{"candidate":"candidate:1"}`, http.StatusBadRequest, "INVALID_SDP"),
		patch("a fragment about nothing", "{etag}", "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n", http.StatusBadRequest, "INVALID_SDP"),
		patch("a fragment of more than 64 KiB", "{etag}", candidates+strings.Repeat("a=x\r\n", 13_200), http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE"),
		patch("restart", "*", restart, http.StatusOK, ""),
		strictly(patch("restart", "*", restart, http.StatusOK, "")),
		strictly(patch("restart as the RFC's example writes it", `"*"`, restart, http.StatusOK, "")),
		strictly(patch("restart of the ICE session that is", "{etag}", restart, http.StatusOK, "")),
		patch("restart without a tag", "", restart, http.StatusOK, ""),
		strictly(patch("restart without a tag", "", restart, http.StatusPreconditionRequired, "PRECONDITION_REQUIRED")),
		patch("restart of another ICE session", `"other"`, restart, http.StatusPreconditionFailed, "PRECONDITION_FAILED"),
		patch("restart with the old user name", "*", replaced(restart, "ysXw", "yaqB"), http.StatusBadRequest, "INVALID_SDP"),
		patch("restart with a password that is short", "*", replaced(restart, "vw5LmwG4y/e6dPP/zAP9Gp5k", "short"), http.StatusBadRequest, "INVALID_SDP"),
		after(patch("restart again", "*", replaced(restart, "ysXw", "third"), http.StatusOK, ""), begun),
		after(patch("restart that came twice", "*", restart, http.StatusNoContent, ""), begun),
		after(patch("candidates that a restart overtook", "", candidates, http.StatusNoContent, ""), begun),
		after(patch("candidates that a restart overtook, with their tag", "{etag}", candidates, http.StatusPreconditionFailed, "PRECONDITION_FAILED"), begun),
		after(strictly(patch("candidates that a restart overtook, with their tag", "{etag}", candidates, http.StatusPreconditionFailed, "PRECONDITION_FAILED")), begunStrictly),
	}
}

// sessionCases are about a session's other methods and its end.
func sessionCases() []exchange {
	ask := func(name, method string, status int, code string) exchange {
		return exchange{name: name, method: method, path: "{session}", status: status, code: code, header: map[string]string{"Authorization": "Bearer " + tokenA}}
	}
	allow := map[string]string{"Allow": sessionVerbs + ", OPTIONS"}
	deleted := ask("", http.MethodDelete, http.StatusOK, "")
	remove := ask("DELETE", http.MethodDelete, http.StatusOK, "")
	remove.want = map[string]string{"Content-Length": "0"}
	stale := with(remove, "DELETE with the tag of another ICE session", map[string]string{"If-Match": `"other"`})
	another := strictly(ask("DELETE by another client", http.MethodDelete, http.StatusNotFound, "SESSION_NOT_FOUND"))
	another.header["Authorization"] = "Bearer " + tokenB
	nobody := strictly(ask("DELETE without a token", http.MethodDelete, http.StatusUnauthorized, "UNAUTHORIZED"))
	nobody.header, nobody.want = nil, map[string]string{"WWW-Authenticate": `Bearer realm="sluice"`}
	put, post := ask("PUT to a session", http.MethodPut, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED"), ask("POST to a session", http.MethodPost, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED")
	put.want, post.want = allow, allow
	options := ask("OPTIONS of a session", http.MethodOptions, http.StatusNoContent, "")
	options.want = map[string]string{"Allow": sessionVerbs + ", OPTIONS", "Accept-Patch": fragmentType}
	return []exchange{
		ask("GET of a session", http.MethodGet, http.StatusNoContent, ""),
		ask("HEAD of a session", http.MethodHead, http.StatusNoContent, ""),
		put, post, options, remove, stale, another, nobody,
		after(ask("DELETE twice", http.MethodDelete, http.StatusNotFound, "SESSION_NOT_FOUND"), deleted),
		after(ask("GET after DELETE", http.MethodGet, http.StatusNotFound, "SESSION_NOT_FOUND"), deleted),
		after(patch("PATCH after DELETE", "*", restart, http.StatusNotFound, "SESSION_NOT_FOUND"), deleted),
	}
}
