package front

import (
	"net/http"
	"strings"
	"testing"
)

func TestSocketHandshake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change    func(*Config, *fakeSessions, *fakeCatalog)
		header    http.Header
		protocols []string
		query     string
		status    int
		code      Code
		chosen    string // subprotocol
	}{
		"plain":                    {status: http.StatusSwitchingProtocols},
		"with our protocol":        {protocols: []string{"x", socketProtocol}, status: http.StatusSwitchingProtocols, chosen: socketProtocol},
		"friendly origin":          {header: http.Header{"Origin": {friend}}, status: http.StatusSwitchingProtocols},
		"foreign origin":           {header: http.Header{"Origin": {"https://evil.example"}}, status: http.StatusForbidden, code: codeOriginNotAllowed},
		"null origin":              {header: http.Header{"Origin": {"null"}}, status: http.StatusForbidden, code: codeOriginNotAllowed},
		"suffixed origin":          {header: http.Header{"Origin": {friend + ".evil.example"}}, status: http.StatusForbidden, code: codeOriginNotAllowed},
		"no token":                 {change: withTokens, status: http.StatusUnauthorized, code: codeUnauthorized},
		"token in the query":       {change: withTokens, query: "?token=" + tokenA, status: http.StatusUnauthorized, code: codeUnauthorized},
		"wrong token":              {change: withTokens, protocols: []string{socketProtocol, bearerProtocol + "x"}, status: http.StatusUnauthorized, code: codeUnauthorized},
		"token in the header":      {change: withTokens, header: http.Header{"Authorization": {"Bearer " + tokenA}}, status: http.StatusSwitchingProtocols},
		"token as subprotocol":     {change: withTokens, protocols: []string{socketProtocol, bearerProtocol + tokenB}, status: http.StatusSwitchingProtocols, chosen: socketProtocol},
		"nothing but a token":      {change: withTokens, protocols: []string{bearerProtocol + tokenB}, status: http.StatusSwitchingProtocols, chosen: bearerProtocol + tokenB},
		"empty model":              {query: "?model=", status: http.StatusBadRequest, code: codeInvalidRequest},
		"no place left":            {change: func(cfg *Config, _ *fakeSessions, _ *fakeCatalog) { cfg.Connections = 0 }, status: http.StatusServiceUnavailable, code: codeTooManyConnections},
		"not a WebSocket request":  {header: http.Header{"Upgrade": {"h2c"}}, status: http.StatusUpgradeRequired, code: codeUpgradeRequired},
		"another version":          {header: http.Header{"Sec-Websocket-Version": {"8"}}, status: http.StatusUpgradeRequired, code: codeUpgradeRequired},
		"a key of the wrong size":  {header: http.Header{"Sec-Websocket-Key": {"c2hvcnQ="}}, status: http.StatusBadRequest, code: codeInvalidRequest},
		"a key that is not base64": {header: http.Header{"Sec-Websocket-Key": {"!"}}, status: http.StatusBadRequest, code: codeInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _ := socketFixture(t, tc.change)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/ws"+tc.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
			}
			for key, values := range tc.header {
				req.Header[key] = values
			}
			if tc.protocols != nil {
				req.Header.Set("Sec-WebSocket-Protocol", strings.Join(tc.protocols, ", "))
			}
			response, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if tc.code != "" {
				checkProblem(t, answer{response}, tc.status, tc.code)
				return
			}
			if response.StatusCode != tc.status || response.Header.Get("Sec-WebSocket-Protocol") != tc.chosen {
				t.Errorf("status %d and protocol %q, want %d and %q", response.StatusCode, response.Header.Get("Sec-WebSocket-Protocol"), tc.status, tc.chosen)
			}
			if extensions := response.Header.Get("Sec-WebSocket-Extensions"); extensions != "" {
				t.Errorf("extensions %q were agreed on", extensions)
			}
		})
	}
}
