package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxEvent bounds a line of an event stream.
const maxEvent = 4 << 20

// Follow reads a session's Server-Sent Events from the first that is kept until the edge ends them, and hands each one's data, a server message in JSON, to take.
func Follow(ctx context.Context, web *http.Client, edge, session string, take func(message []byte) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/sessions/%s/results", edge, session), http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Last-Event-ID", "0")
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxBody))
		return fmt.Errorf("GET results: %s: %s", response.Status, text)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := take([]byte(data)); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
