package front

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var stableCode = regexp.MustCompile(`^[A-Z_]+$`)

// Whatever a request holds, it is answered, and an error is a problem document.
func FuzzRequest(f *testing.F) {
	for _, tc := range whipCases {
		path, query, _ := strings.Cut(tc.request.path, "?")
		f.Add(tc.request.method, path, query, tc.request.header["Content-Type"], tc.request.header["Authorization"], tc.request.header["Origin"], tc.request.body)
	}
	f.Add("GET", "/models", "", "", "", "", "")
	f.Add("GET", "/ws", "model=a&model=%zz", "", "", "", "")
	f.Add("GET", "/../../etc/passwd", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, contentType, authorization, origin, body string) {
		front, _ := fixture(t, withTokens)
		r := httptest.NewRequest(http.MethodPost, "http://edge.example/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: "/" + strings.TrimPrefix(path, "/"), RawQuery: query}
		r.Header = http.Header{"Content-Type": {contentType}, "Authorization": {authorization}, "Origin": {origin}}
		recorder := httptest.NewRecorder()
		front.ServeHTTP(recorder, r)
		if recorder.Code < http.StatusBadRequest {
			return
		}
		var document struct{ Code string }
		if err := json.Unmarshal(recorder.Body.Bytes(), &document); err != nil || !stableCode.MatchString(document.Code) {
			t.Errorf("status %d with the body %q (%v)", recorder.Code, recorder.Body, err)
		}
		if recorder.Code == http.StatusInternalServerError && !strings.Contains(body, "panic") && !strings.Contains(body, "defect") {
			t.Errorf("a request was a defect: %q", recorder.Body)
		}
	})
}

// Whatever a client sends on its WebSocket is a message or a problem that says so.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{
		offerMessage(offerSDP), `{"bye":{}}`, `{"offerRequest":{"video":1,"audio":1,"restart":true}}`, `{"answer":{"sdp":"v=0"}}`, `{"offerRequest":{"video":-1}}`, `{"ping":{"id":1}}`, `{"candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"u"}}`,
		`{}`, `[]`, ``, `{"offer":{}}`, `{"offer":null}`, `{"candidate":{"sdpMLineIndex":65}}`, "\xff", `{"bye":{},"bye":{}}`, `{"offer":{"sdp":"\ud800"}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		message, err := parseMessage(data)
		var problem *Problem
		switch {
		case err == nil && message.GetBody() == nil:
			t.Error("a message without a body was taken")
		case err == nil && message.GetCandidate() != nil:
			candidateInit(message.GetCandidate())
		case err == nil, errors.Is(err, errNotUTF8):
		case !errors.As(err, &problem) || problem.Code != codeInvalidMessage:
			t.Errorf("the error is %v", err)
		}
	})
}
