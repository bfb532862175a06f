package front

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluice-dev/sluice/services/edge/web"
)

func TestPage(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, withTokens) // files need no token
	for path, contentType := range map[string]string{
		"/":              "text/html; charset=utf-8",
		"/index.html":    "text/html; charset=utf-8",
		"/watch":         "text/html; charset=utf-8",
		"/watch.html":    "text/html; charset=utf-8",
		"/sdk/sluice.js": "text/javascript; charset=utf-8",
	} {
		response := request{method: http.MethodGet, path: path}.do(t, f)
		text := bodyOf(t, response)
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != contentType || text == "" {
			t.Errorf("%s: status %d, type %q, %d bytes", path, response.StatusCode, response.Header.Get("Content-Type"), len(text))
		}
		if response.Header.Get("Content-Security-Policy") != web.ContentSecurityPolicy || response.Header.Get("Permissions-Policy") != web.PermissionsPolicy {
			t.Errorf("%s comes without its policies", path)
		}
		tag := response.Header.Get("ETag")
		again := request{method: http.MethodGet, path: path, header: map[string]string{"If-None-Match": tag}}.do(t, f)
		if tag == "" || again.StatusCode != http.StatusNotModified {
			t.Errorf("%s with ETag %q: status %d, want 304", path, tag, again.StatusCode)
		}
		head := request{method: http.MethodHead, path: path}.do(t, f)
		if head.StatusCode != http.StatusOK || bodyOf(t, head) != "" {
			t.Errorf("HEAD %s: status %d or a body", path, head.StatusCode)
		}
	}
	for _, path := range []string{"/sdk", "/sdk/", "/nothing", "/metrics", "/debug/pprof/", "/index.html/", "/index", "/watch/", "/embed.go", "/..%2fembed.go"} {
		checkProblem(t, request{method: http.MethodGet, path: path}.do(t, f), http.StatusNotFound, codeNotFound)
	}
	checkProblem(t, request{method: http.MethodPost, path: "/"}.do(t, f), http.StatusMethodNotAllowed, codeMethodNotAllowed)
}

// The SDK is one script for pages elsewhere: module scripts are fetched with CORS.
func TestSDKForOtherOrigins(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, nil)
	for origin, want := range map[string]string{friend: friend, "https://evil.example": ""} {
		response := request{method: http.MethodGet, path: "/sdk/sluice.js", header: map[string]string{"Origin": origin}}.do(t, f)
		if got := response.Header.Get("Access-Control-Allow-Origin"); response.StatusCode != http.StatusOK || got != want {
			t.Errorf("for %s: status %d, Access-Control-Allow-Origin %q, want %q", origin, response.StatusCode, got, want)
		}
	}
}

func TestPageOfUnknownType(t *testing.T) {
	t.Parallel()
	if _, err := loadPage(fstest.MapFS{"a.exe": {}}); err == nil || !strings.Contains(err.Error(), "a.exe") {
		t.Errorf("got %v, want an error about a.exe", err)
	}
}

func TestModels(t *testing.T) {
	t.Parallel()
	f, _ := fixture(t, nil)
	response := request{method: http.MethodGet, path: "/models"}.do(t, f)
	var got, want any
	if err := json.Unmarshal([]byte(bodyOf(t, response)), &got); err != nil {
		t.Fatal(err)
	}
	err := json.Unmarshal([]byte(`{"models":[
		{"name":"faces","input":{"picture":{"width":320,"height":240,"fit":"LETTERBOX","color":"RGB"}},"result":"detections","ready":true,"rate":15,"deadline":0.25},
		{"name":"other","input":{"picture":{"width":224,"height":224,"fit":"CROP","color":"BGR"}},"result":"classes","ready":false,"rate":0,"deadline":0},
		{"name":"files","input":{"picture":{"width":640,"height":480,"encoding":"JPEG"}},"result":"","ready":false,"rate":0,"deadline":0},
		{"name":"speech","input":{"sound":{"rate":16000,"window":512,"hop":256,"context":64}},"result":"","ready":false,"rate":0,"deadline":0},
		{"name":"pose","input":{"tensor":{"datatype":"FP32","shape":[1,63]}},"result":"","ready":false,"rate":0,"deadline":0},
		{"name":"words","input":{"document":{}},"result":"","ready":false,"rate":0,"deadline":0},
		{"name":"stranger","input":{},"result":"","ready":false,"rate":0,"deadline":0}]}`), &want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v (%s), want %v", got, response.Header.Get("Content-Type"), want)
	}
	f, _ = fixture(t, func(_ *Config, _ *fakeSessions, c *fakeCatalog) { c.unknown = true })
	checkProblem(t, request{method: http.MethodGet, path: "/models"}.do(t, f), http.StatusServiceUnavailable, codeNoRouter)
	f, _ = fixture(t, withTokens)
	checkProblem(t, request{method: http.MethodGet, path: "/models"}.do(t, f), http.StatusUnauthorized, codeUnauthorized)
}
