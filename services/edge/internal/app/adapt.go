package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
	"github.com/sluice-dev/sluice/services/edge/internal/front"
	"github.com/sluice-dev/sluice/services/edge/internal/inspect"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
	"github.com/sluice-dev/sluice/services/edge/internal/session"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// frontConfig puts what the user wrote into the front's words.
func frontConfig(cfg config.Config, logger *slog.Logger, registry prometheus.Registerer) front.Config {
	c := front.Config{
		PublicURL: strings.TrimRight(cfg.HTTP.PublicURL, "/"), Origins: cfg.HTTP.Origins,
		StrictETag:  cfg.HTTP.StrictETag,
		Connections: connectionsPerSession * cfg.Limits.Sessions, Version: serve.Version(), Logger: logger, Registry: registry,
	}
	for _, token := range cfg.HTTP.Tokens {
		c.Tokens = append(c.Tokens, token.Reveal())
	}
	for _, client := range cfg.HTTP.Clients {
		c.Clients = append(c.Clients, front.Client{Token: client.Token.Reveal(), Share: media.Share{Weight: uint16(client.Weight), Class: uint8(client.Class)}})
	}
	for _, server := range cfg.ICE.Servers {
		c.ICEServers = append(c.ICEServers, front.ICEServer{
			URLs: server.URLs, Username: server.Username, Credential: server.Credential.Reveal(),
			Secret: server.Secret.Reveal(), TTL: cmp.Or(time.Duration(server.TTL), config.TURNLife),
		})
	}
	return c
}

// sessions shows the front a session manager.
type sessions struct{ manager *session.Manager }

func (s sessions) NewID() string { return s.manager.NewID() }

func (s sessions) Create(ctx context.Context, offer front.Offer) (front.Session, string, error) {
	created, description, err := s.manager.Create(ctx, session.Request{
		ID: offer.ID, Offer: offer.SDP, Media: (*peer.Media)(offer.Media), Models: offer.Models, Share: offer.Share, Trickle: offer.Trickle,
	})
	if err != nil {
		return nil, "", asProblem(err)
	}
	return live{created}, description, nil
}

func (s sessions) BySecret(secret string) (front.Session, bool) {
	found, ok := s.manager.BySecret(secret)
	return live{found}, ok
}

func (s sessions) ByID(id string) (front.Session, bool) {
	found, ok := s.manager.ByID(id)
	return live{found}, ok
}

// live shows the front a session.
type live struct{ *session.Session }

func (l live) AddCandidate(candidate webrtc.ICECandidateInit) error {
	return asProblem(l.Session.AddCandidate(candidate))
}

func (l live) Renegotiate(ctx context.Context, offer string) (string, error) {
	answer, err := l.Session.Renegotiate(ctx, offer)
	return answer, asProblem(err)
}

func (l live) Offer(ctx context.Context, media front.Media, restart bool) (string, error) {
	offer, err := l.Session.Offer(ctx, peer.Media(media), restart)
	return offer, asProblem(err)
}

func (l live) Accept(answer string) error { return asProblem(l.Session.Accept(answer)) }

func (l live) Trickle(ctx context.Context, fragment sdpfrag.Fragment) (string, error) {
	answer, err := l.Session.Trickle(ctx, fragment)
	return answer, asProblem(err)
}

// asProblem puts a refusal into the front's words; nil and other errors stay what they are.
func asProblem(err error) error {
	var refusal *session.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	return &front.Problem{Status: refusal.Status, Code: front.Code(refusal.Code), Detail: refusal.Detail, RetryAfter: refusal.RetryAfter}
}

// catalog shows the front what the routers serve.
type catalog struct{ pool *uplink.Pool }

func (c catalog) Snapshot() (models []media.Model, inputs []media.Input, known bool) {
	now := c.pool.Catalog()
	return now.Models, now.Inputs, now.Known
}

// source shows inspection the sessions and the models.
type source struct {
	manager *session.Manager
	pool    *uplink.Pool
}

func (s source) Sessions() []inspect.Session {
	list := s.manager.List()
	views := make([]inspect.Session, 0, len(list))
	for _, one := range list {
		counts, activity := one.Activity()
		views = append(views, inspect.Session{ID: one.ID(), Start: one.Started(), State: string(one.State()), Streams: counts, Activity: activity})
	}
	return views
}

func (s source) Totals() []media.ModelCounts { return s.manager.Totals() }

func (s source) Models() ([]media.Model, []media.Input) {
	now := s.pool.Catalog()
	return now.Models, now.Inputs
}

func (s source) Explain(id, stream string, sequence uint32) (ledger.Life, bool) {
	return s.manager.Explain(id, stream, sequence)
}
