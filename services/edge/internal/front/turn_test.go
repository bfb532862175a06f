package front

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// As coturn computes them: echo -n USERNAME | openssl dgst -binary -sha1 -hmac SECRET | openssl base64.
func TestLend(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		secret, name, username, credential string
	}{
		{"north", "", "1700000000", "CWyHi3zCeWqXBir9thl4m+iZPRY="},
		{"north", "session1", "1700000000:session1", "stUfhtJN40sBduMi4LokxKRpKiU="},
		{"south", "session1", "1700000000:session1", "a36sy4ke85q3hjR1JdNW191qbNs="},
	} {
		username, credential := lend(tc.secret, tc.name, time.Unix(1_700_000_000, 0))
		if username != tc.username || credential != tc.credential {
			t.Errorf("%s, %s: got %s with %s, want %s with %s", tc.secret, tc.name, username, credential, tc.username, tc.credential)
		}
	}
}

// Each answer lends credentials of its own, from then on, and shows nothing of the secret.
func TestWHIPLendsTURNCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := fixture(t, func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) {
			cfg.ICEServers = []ICEServer{{URLs: []string{"turn:turn.example", "turns:turn.example"}, Secret: "north", TTL: time.Hour}}
		})
		pattern := regexp.MustCompile(`^<turns?:turn\.example>; rel="ice-server"; username="(([0-9]+)(:[a-z0-9]+)?)"; credential="([^"]+)"; credential-type="password"$`)
		for _, tc := range []struct {
			request request
			name    string
		}{
			{post(), ":session1"}, {post(), ":session2"}, {request{method: http.MethodOptions, path: "/whip"}, ""},
		} {
			<-time.After(time.Minute)
			response := tc.request.do(t, f)
			for _, link := range response.Header.Values("Link")[:2] {
				parts := pattern.FindStringSubmatch(link)
				if parts == nil {
					t.Fatalf("Link is %s", link)
				}
				mac := hmac.New(sha1.New, []byte("north"))
				mac.Write([]byte(parts[1]))
				if parts[2] != strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10) || parts[3] != tc.name || parts[4] != base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
					t.Errorf("at %d: %s", time.Now().Unix(), link)
				}
			}
		}
	})
}
