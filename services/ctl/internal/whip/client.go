// Package whip publishes over WHIP (RFC 9725).
package whip

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds what is read of a server's answer.
const maxAnswer = 256 << 10

// Client talks to one edge. It is safe for concurrent use.
type Client struct {
	// Edge is the edge's base address, http://host:port.
	Edge *url.URL
	// Token is sent as a bearer token unless empty.
	Token string
	// HTTP makes the requests; it must have a timeout.
	HTTP *http.Client
}

// NewClient checks an edge's address.
func NewClient(edge, token string) (*Client, error) {
	u, err := url.Parse(edge)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("--edge %q is no address of an edge: write http://127.0.0.1:8080", edge)
	}
	return &Client{Edge: u, Token: token, HTTP: newHTTP()}, nil
}

// Session is a WHIP session that was accepted.
type Session struct {
	// Answer is the SDP answer.
	Answer string
	// Resource is the session's address; whoever knows it controls the session.
	Resource *url.URL
	// Results is the address of the session's Server-Sent Events, empty when the edge names none.
	Results string
}

// Problem is an edge's refusal (RFC 9457).
type Problem struct { //nolint:errname // RFC 9457's word for it
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// RetryAfter is how long the edge asks to be left alone; zero when it does not say.
	RetryAfter time.Duration `json:"-"`
}

// Final tells whether the same request will be refused however often it is made.
func (p *Problem) Final() bool {
	switch p.Status {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return p.Status >= 400 && p.Status < 500
}

// Error tells the code for machines and what to do for people.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	return fmt.Sprintf("the edge refused with %d %s: %s", p.Status, p.Code, text)
}

// Publish posts an SDP offer for the models named, all when none is. An answer other than 201 is a *Problem.
func (c *Client) Publish(ctx context.Context, offer string, models []string) (*Session, error) {
	endpoint := c.Edge.JoinPath("whip")
	endpoint.RawQuery = url.Values{"model": models}.Encode()
	response, body, err := c.do(ctx, http.MethodPost, endpoint, offer) //nolint:bodyclose // do has read and closed it.
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusCreated {
		return nil, problem(response, body)
	}
	location, err := response.Location()
	if err != nil {
		return nil, fmt.Errorf("the edge accepted the offer but named no session: %w", err)
	}
	s := &Session{Answer: string(body), Resource: location}
	for _, link := range response.Header.Values("Link") {
		target, parameters, _ := strings.Cut(link, ">")
		if strings.Contains(parameters, `rel="urn:ietf:params:whip:ext:sluice:results"`) {
			if u, err := c.Edge.Parse(strings.TrimPrefix(strings.TrimSpace(target), "<")); err == nil {
				s.Results = u.String()
			}
		}
	}
	return s, nil
}

// SoundInput is what a model takes of sound: a rate in samples a second, and windows of samples that begin hop apart.
type SoundInput struct {
	Rate, Window, Hop int
}

// SoundModels gives what each model that takes sound takes of it, by the model's name.
func (c *Client) SoundModels(ctx context.Context) (map[string]SoundInput, error) {
	response, body, err := c.do(ctx, http.MethodGet, c.Edge.JoinPath("models"), "") //nolint:bodyclose // do has read and closed it.
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, problem(response, body)
	}
	var answer struct {
		Models []struct {
			Name  string
			Input struct{ Sound *SoundInput }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the edge's list of models cannot be read: %w", err)
	}
	all := map[string]SoundInput{}
	for _, m := range answer.Models {
		if in := m.Input.Sound; in != nil && in.Rate > 0 && in.Hop > 0 {
			all[m.Name] = *in
		}
	}
	return all, nil
}

// End deletes a session. One that has already ended is no error.
func (c *Client) End(ctx context.Context, s *Session) error {
	response, body, err := c.do(ctx, http.MethodDelete, s.Resource, "") //nolint:bodyclose // do has read and closed it.
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 && response.StatusCode != http.StatusNotFound {
		return problem(response, body)
	}
	return nil
}

// do makes a request and reads the whole answer; the response's body is closed.
func (c *Client) do(ctx context.Context, method string, to *url.URL, sdp string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader([]byte(sdp)))
	if err != nil {
		return nil, nil, err
	}
	if sdp != "" {
		request.Header.Set("Content-Type", "application/sdp")
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("no answer from the edge at %s: is it running? %w", c.Edge, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("the edge's answer broke off: %w", err)
	}
	return response, body, nil
}

func problem(response *http.Response, body []byte) error {
	p := &Problem{}
	if json.Unmarshal(body, p) != nil {
		p.Detail = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	p.Status = response.StatusCode
	if seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}
