package publish

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Outcomes follows the session's Server-Sent Events until ctx ends or the session does, and hands on every outcome.
func (p *Publisher) Outcomes(ctx context.Context, each func(*sluicev1.Outcome)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.results, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Last-Event-ID", "0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("results: %s", response.Status)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		m := &sluicev1.ServerMessage{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m); err != nil {
			return fmt.Errorf("results: %w", err)
		}
		if o := m.GetOutcome(); o != nil {
			each(o)
		}
	}
	return ended(ctx, lines.Err())
}

// ended gives no error for what ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// resultsOf finds the address of the session's events among the answer's links; empty when the server has none.
func resultsOf(h http.Header) string {
	for _, link := range h.Values("Link") {
		target, parameters, _ := strings.Cut(link, ">")
		if strings.Contains(parameters, `rel="urn:ietf:params:whip:ext:sluice:results"`) {
			return strings.TrimPrefix(strings.TrimSpace(target), "<")
		}
	}
	return ""
}
