package front

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
)

// TestClientsHaveTheirShares starts sessions with tokens of both kinds, on both ways in.
func TestClientsHaveTheirShares(t *testing.T) {
	t.Parallel()
	share := media.Share{Weight: 4, Class: 1}
	for name, change := range map[string]func(*Config, *fakeSessions, *fakeCatalog){
		"beside others": func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) {
			cfg.Tokens, cfg.Clients = []string{tokenA}, []Client{{Token: tokenB, Share: share}}
		},
		"alone": func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) {
			cfg.Clients = []Client{{Token: tokenA}, {Token: tokenB, Share: share}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, sessions := socketFixture(t, change)
			publish := func(token string) int {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/whip", strings.NewReader(offerSDP))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", sdpType)
				r.Header.Set("Authorization", "Bearer "+token)
				response, err := server.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				return response.StatusCode
			}
			for token, want := range map[string]media.Share{tokenA: {}, tokenB: share} {
				if got := publish(token); got != http.StatusCreated {
					t.Fatalf("WHIP: status %d", got)
				}
				conn := dialSocket(t, server, "", &websocket.DialOptions{Subprotocols: []string{socketProtocol, bearerProtocol + token}})
				hear(t, conn) // the welcome
				say(t, conn, offerMessage(offerSDP))
				hear(t, conn) // the answer
				sessions.mu.Lock()
				created := sessions.created
				sessions.created = nil
				sessions.mu.Unlock()
				if len(created) != 2 || created[0].Share != want || created[1].Share != want {
					t.Errorf("sessions %+v, want two with %+v", created, want)
				}
			}
			if got := publish("nobody's-token"); got != http.StatusUnauthorized {
				t.Errorf("another token: status %d", got)
			}
		})
	}
}
