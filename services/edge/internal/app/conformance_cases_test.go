package app

import (
	"net/http"
	"strings"
)

const (
	friend   = "https://app.example"
	stranger = "https://evil.example"
	tokenA   = "token-of-client-A"
	tokenB   = "token-of-client-B"

	exposed        = "Location, Link, Retry-After, ETag, Accept-Post, Accept-Patch, Access-Control-Allow-Methods, Sluice-Protocol"
	fragmentType   = "application/trickle-ice-sdpfrag"
	endpointVerbs  = "GET, HEAD, POST"
	sessionVerbs   = "DELETE, GET, HEAD, PATCH"
	publishing     = "DELETE, OPTIONS, PATCH, POST" // what a publisher may send, at the endpoint and to its session
	allowedHeaders = "Authorization, Content-Type, ETag, If-Match, Last-Event-ID"
	resultsLink    = `<http://127\.0\.0\.1:[0-9]+/sessions/[a-z2-7]{16}/results>; rel="urn:ietf:params:whip:ext:sluice:results"`
	locationLink   = `^http://127\.0\.0\.1:[0-9]+/whip/[a-z2-7]{26}$`
	tagPattern     = `^"[a-zA-Z0-9+/]{4,256}"$`

	// What a client that sent obsOffer trickles, and how it restarts.
	candidates = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:yaqB\r\na=ice-pwd:nrrEjU5IHMrXm7GLgNyEFe\r\n" +
		"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag yaqB network-id 1\r\na=end-of-candidates\r\n"
	restart = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n" +
		"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 1 ufrag ysXw network-id 1\r\n"
)

// created are the headers of a 201.
func created(more map[string]string) map[string]string {
	want := map[string]string{
		"Content-Type": "application/sdp", "Content-Length": "^[0-9]+$", "Cache-Control": "no-store", "ETag": tagPattern, "Location": locationLink, "Link": "^" + resultsLink + "$",
	}
	for name, value := range more {
		want[name] = value
	}
	return want
}

// offering is a POST of an offer.
func offering(name, offer string, status int, code string) exchange {
	x := exchange{name: name, method: http.MethodPost, path: "/whip", body: offer, header: map[string]string{"Content-Type": "application/sdp"}, status: status, code: code}
	if code == "" {
		x.want, x.says = created(nil), []string{"v=0\r\n", "a=candidate:", "a=end-of-candidates"}
	}
	return x
}

// with adds headers to a request.
func with(x exchange, name string, header map[string]string) exchange {
	x.name = name
	merged := map[string]string{}
	for _, from := range []map[string]string{x.header, header} {
		for key, value := range from {
			merged[key] = value
		}
	}
	x.header = merged
	return x
}

// endpointCases are about the endpoint's methods (RFC 9725 section 4.1).
func endpointCases() []exchange {
	allow := map[string]string{"Allow": endpointVerbs + ", OPTIONS"}
	ask := func(name, method string, status int, code string, want map[string]string) exchange {
		return exchange{name: name, method: method, path: "/whip", status: status, code: code, want: want}
	}
	return []exchange{
		ask("GET of the endpoint", http.MethodGet, http.StatusNoContent, "", nil),
		ask("HEAD of the endpoint", http.MethodHead, http.StatusNoContent, "", nil),
		ask("PUT to the endpoint", http.MethodPut, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", allow),
		ask("PATCH of the endpoint", http.MethodPatch, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", allow),
		ask("DELETE of the endpoint", http.MethodDelete, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", allow),
		ask("a method of one's own", "BREW", http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", allow),
		ask("OPTIONS of the endpoint", http.MethodOptions, http.StatusNoContent, "", map[string]string{
			"Allow": endpointVerbs + ", OPTIONS", "Accept-Post": "application/sdp", "Access-Control-Allow-Methods": publishing,
		}),
	}
}

// offerCases are offers that are taken.
func offerCases() []exchange {
	obs := offering("OBS", obsOffer, http.StatusCreated, "")
	obs.says = append(obs.says, "a=recvonly", "a=setup:passive", "a=rtpmap:111 opus/48000", "a=rtpmap:96 H264/90000", "a=group:BUNDLE 0 1")
	obs.lacks = []string{"a=sendonly", "a=sendrecv", "m=video 0"}
	ffmpeg := offering("FFmpeg", ffmpegOffer, http.StatusCreated, "")
	ffmpeg.says = append(ffmpeg.says, "a=setup:active", "a=rtpmap:106 H264/90000")
	browser := offering("a browser, its data channel first", browserOffer, http.StatusCreated, "")
	browser.says = append(browser.says, "m=application 9", "a=sctp-port:5000", "a=max-message-size:262144", "a=mid:1")
	return []exchange{
		obs, ffmpeg, browser,
		offering("GStreamer", gstreamerOffer, http.StatusCreated, ""),
		with(offering("", obsOffer, http.StatusCreated, ""), "a type with parameters", map[string]string{"Content-Type": "Application/SDP; charset=utf-8"}),
		with(offering("", obsOffer, http.StatusCreated, ""), "a coding that is none", map[string]string{"Content-Encoding": "identity"}),
		with(offering("", obsOffer, http.StatusCreated, ""), "If-Match on POST", map[string]string{"If-Match": `"old"`}),
		at(offering("some models", obsOffer, http.StatusCreated, ""), "/whip?model=faces&model=faces"),
		offering("64 candidates", withCandidates(obsOffer, 64), http.StatusCreated, ""),
	}
}

func at(x exchange, path string) exchange {
	x.path = path
	return x
}

// refusalCases are offers that are not taken, each for one thing.
func refusalCases() []exchange {
	wrongType := map[string]string{"Accept-Post": "application/sdp"}
	typed := func(name, contentType string) exchange {
		x := with(offering("", obsOffer, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE"), name, map[string]string{"Content-Type": contentType})
		x.want = wrongType
		return x
	}
	busy := func(name, edge, code, after string) exchange {
		x := offering(name, obsOffer, http.StatusServiceUnavailable, code)
		x.edge, x.want = edge, map[string]string{"Retry-After": after}
		return x
	}
	return []exchange{
		typed("no type", ""), typed("text", "text/plain"), typed("a fragment", fragmentType),
		with(offering("", obsOffer, http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE"), "compressed", map[string]string{"Content-Encoding": "gzip"}),
		offering("an empty offer", "", http.StatusBadRequest, "INVALID_SDP"),
		offering("HTML", "<html></html>", http.StatusBadRequest, "INVALID_SDP"),
		offering("no media", "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", http.StatusUnprocessableEntity, "NOTHING_SENT"),
		offering("more than 64 KiB", obsOffer+strings.Repeat("a=x\r\n", 13_200), http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE"),
		offering("65 candidates", withCandidates(obsOffer, 65), http.StatusRequestEntityTooLarge, "SDP_TOO_LARGE"),
		offering("recvonly", replaced(obsOffer, "a=sendonly", "a=recvonly"), http.StatusUnprocessableEntity, "NOTHING_SENT"),
		offering("inactive", replaced(obsOffer, "a=sendonly", "a=inactive"), http.StatusUnprocessableEntity, "NOTHING_SENT"),
		offering("sound that is not taken, beside video that is", replaced(obsOffer, "opus/48000/2", "speex/16000"), http.StatusUnprocessableEntity, "UNSUPPORTED_CODEC"),
		offering("video that is not taken", replaced(ffmpegOffer, "H264/90000", "H263/90000"), http.StatusUnprocessableEntity, "UNSUPPORTED_CODEC"),
		offering("no fingerprint", replaced(obsOffer, fingerprint, ""), http.StatusBadRequest, "INVALID_SDP"),
		offering("keys in the clear", obsOffer+"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n", http.StatusBadRequest, "INVALID_SDP"),
		offering("no bundle", replaced(obsOffer, "a=group:BUNDLE 0 1", "a=x:1"), http.StatusBadRequest, "INVALID_SDP"),
		offering("no ICE credentials", replaced(obsOffer, "a=ice-ufrag", "a=x"), http.StatusBadRequest, "INVALID_SDP"),
		offering("two tracks in one description", planB, http.StatusBadRequest, "INVALID_SDP"),
		at(offering("an unknown model", obsOffer, http.StatusUnprocessableEntity, "UNKNOWN_MODEL"), "/whip?model=nobody"),
		at(offering("a model without a name", obsOffer, http.StatusBadRequest, "INVALID_REQUEST"), "/whip?model="),
		busy("a full edge", "full", "TOO_MANY_SESSIONS", "5"),
		busy("an edge that shuts down", "draining", "DRAINING", "1"),
		busy("an edge without a router", "alone", "NO_ROUTER", "5"),
	}
}

// accessCases are about tokens and origins.
func accessCases() []exchange {
	public := map[string]string{
		"Location": `^https://edge\.example/sluice/whip/[a-z2-7]{26}\.[A-Z2-7]{26}$`,
		"Link": `^<stun:stun\.example>; rel="ice-server" \| <turn:turn\.example>; rel="ice-server"; username="[0-9]{10}:[a-z2-7]{16}"; credential="[A-Za-z0-9+/]{27}="; credential-type="password"` +
			` \| <https://edge\.example/sluice/sessions/[a-z2-7]{16}/results>; rel="urn:ietf:params:whip:ext:sluice:results"$`,
	}
	strict := func(name string, status int, code, authorization string, want map[string]string) exchange {
		x := offering(name, obsOffer, status, code)
		x.edge, x.want = "strict", want
		if authorization != "" {
			x.header["Authorization"] = authorization
		}
		return x
	}
	preflight := func(name, edge, path, method, verbs string, want map[string]string) exchange {
		x := exchange{name: name, edge: edge, method: http.MethodOptions, path: path, status: http.StatusNoContent, want: map[string]string{
			"Allow": verbs + ", OPTIONS", "Access-Control-Allow-Origin": friend, "Access-Control-Expose-Headers": exposed, "Access-Control-Allow-Methods": verbs + ", OPTIONS",
			"Access-Control-Allow-Headers": allowedHeaders, "Access-Control-Max-Age": "600",
		}, header: map[string]string{"Origin": friend, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type,if-match"}}
		for key, value := range want {
			x.want[key] = value
		}
		return x
	}
	withTURN := exchange{name: "OPTIONS with a token", edge: "strict", method: http.MethodOptions, path: "/whip", header: map[string]string{"Authorization": "Bearer " + tokenA}, status: http.StatusNoContent, want: map[string]string{
		"Allow": endpointVerbs + ", OPTIONS", "Accept-Post": "application/sdp", "Access-Control-Allow-Methods": publishing,
		"Link": `^<stun:stun\.example>; rel="ice-server" \| <turn:turn\.example>; rel="ice-server"; username="[0-9]{10}"; credential="[A-Za-z0-9+/]{27}="; credential-type="password"$`,
	}}
	refused := exchange{
		name: "preflight of a stranger", method: http.MethodOptions, path: "/whip", header: map[string]string{"Origin": stranger, "Access-Control-Request-Method": "POST"},
		status: http.StatusForbidden, code: "ORIGIN_NOT_ALLOWED",
	}
	shared := with(offering("", obsOffer, http.StatusCreated, ""), "a friend's page", map[string]string{"Origin": friend})
	shared.want = created(map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Expose-Headers": exposed})
	readable := with(offering("", "", http.StatusBadRequest, "INVALID_SDP"), "a friend's page may read what is wrong", map[string]string{"Origin": friend})
	readable.want = map[string]string{"Access-Control-Allow-Origin": friend, "Access-Control-Expose-Headers": exposed}
	return []exchange{
		strict("no token", http.StatusUnauthorized, "UNAUTHORIZED", "", map[string]string{"WWW-Authenticate": `Bearer realm="sluice"`}),
		strict("a wrong token", http.StatusUnauthorized, "UNAUTHORIZED", "Bearer nobody", map[string]string{"WWW-Authenticate": `Bearer realm="sluice", error="invalid_token"`}),
		strict("a token by another scheme", http.StatusUnauthorized, "UNAUTHORIZED", "Basic "+tokenA, map[string]string{"WWW-Authenticate": `Bearer realm="sluice"`}),
		strict("a token, by an edge with TURN", http.StatusCreated, "", "bearer "+tokenA, created(public)),
		withTURN,
		preflight("preflight of the endpoint", "strict", "/whip", "POST", endpointVerbs, map[string]string{"Accept-Post": "application/sdp"}),
		preflight("preflight of a session", "", "/whip/any", "PATCH", sessionVerbs, map[string]string{"Accept-Patch": fragmentType}),
		refused, shared, readable,
		with(offering("", obsOffer, http.StatusCreated, ""), "the edge's own page", map[string]string{"Origin": "self"}),
		with(offering("", obsOffer, http.StatusForbidden, "ORIGIN_NOT_ALLOWED"), "a stranger's page", map[string]string{"Origin": stranger}),
	}
}
