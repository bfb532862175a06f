package front

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// Every answer names the protocol that this edge speaks, so that a page with another edition of the SDK can say what is wrong. The number changes
// when clients have to.
const (
	protocolHeader  = "Sluice-Protocol"
	protocolEdition = 1
)

// handler answers one request. A returned error has not been answered yet.
type handler func(w http.ResponseWriter, r *http.Request, who principal) error

type methods map[string]handler

// route is one path of the front: what stands before every handler of it.
type route struct {
	front   *Front
	pattern string
	methods methods
	// private routes need a token and refuse foreign origins; the others are files that say nothing about anybody.
	private bool
	// acceptPost and acceptPatch are the media types that POST and PATCH take.
	acceptPost, acceptPatch string
	// about names the part of the path that tells which session the request is about, and so which edge's; empty where there is none.
	about string
	// describe, when not nil, adds to the answer to an OPTIONS request that no browser made of itself.
	describe func(h http.Header, r *http.Request)
}

// ServeHTTP implements http.Handler.
func (t route) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &recorder{ResponseWriter: rw}
	defer t.finish(w, r)
	if err := t.serve(w, r); err != nil {
		problem, known := asProblem(err)
		if !known {
			t.front.cfg.Logger.Error("request failed", "route", t.pattern, "method", r.Method, "error", err)
		}
		writeProblem(w, problem)
	}
}

func (t route) serve(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set(protocolHeader, strconv.Itoa(protocolEdition))
	if err := t.crossOrigin(h, r); err != nil {
		return err
	}
	if r.Method == http.MethodOptions {
		t.options(w, r)
		return nil
	}
	handle, ok := t.methods[r.Method]
	if !ok {
		h.Set("Allow", t.allow())
		return refuse(http.StatusMethodNotAllowed, codeMethodNotAllowed, "%s is not for this path; it takes %s", methodName(r.Method), t.allow())
	}
	var who principal
	if t.private {
		var err error
		if who, err = t.front.authenticate(r); err != nil {
			h.Set("WWW-Authenticate", challenge(r))
			return err
		}
	}
	if word := r.PathValue(t.about); t.front.forwarder.elsewhere(word) {
		return t.forward(w, r, word)
	}
	return handle(w, r, who)
}

// options answers OPTIONS: what the path takes, and, for a browser that asks before it sends a page's request (a preflight), that the page may send
// it. Preflights have no token, so they are told nothing that needs one.
func (t route) options(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Allow", t.allow())
	if t.acceptPost != "" {
		h.Set("Accept-Post", t.acceptPost)
	}
	if t.acceptPatch != "" {
		h.Set("Accept-Patch", t.acceptPatch)
	}
	switch preflight := r.Header.Get("Access-Control-Request-Method") != ""; {
	case preflight && r.Header.Get("Origin") != "":
		h.Set("Access-Control-Allow-Methods", t.allow())
		// ETag is no request header, but a client in use, @eyevinn/whip-web-client, sends it where If-Match belongs.
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, ETag, If-Match, Last-Event-ID")
		h.Set("Access-Control-Max-Age", "600")
	case !preflight && t.describe != nil:
		t.describe(h, r)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (t route) verbs() string {
	return strings.Join(slices.Sorted(maps.Keys(t.methods)), ", ")
}

func (t route) allow() string { return t.verbs() + ", " + http.MethodOptions }

// finish counts and logs the request, and answers for a handler that panicked. The path is not logged: it may hold a secret.
func (t route) finish(w *recorder, r *http.Request) {
	if thrown := recover(); thrown != nil {
		if err, ok := thrown.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(thrown) // http.Server's own way to cut a connection
		}
		t.front.cfg.Logger.Error("request panicked", "route", t.pattern, "panic", fmt.Sprint(thrown), "stack", string(debug.Stack()))
		if w.status == 0 {
			problem, _ := asProblem(errors.New("panic"))
			writeProblem(w, problem)
		}
	}
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	t.front.requests.WithLabelValues(t.pattern, methodName(r.Method), strconv.Itoa(status)).Inc()
	t.front.cfg.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request",
		slog.String("route", t.pattern), slog.String("method", methodName(r.Method)), slog.Int("status", status))
}

// methodName keeps strange methods out of metrics and problems.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "OTHER"
}

// recorder remembers the status. http.ResponseController and the WebSocket library look through it by Unwrap.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
