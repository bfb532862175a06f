// Package inspect is the router's InspectService: what an operator asks a running router with grpcurl.
package inspect

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/intake"
)

// Sessions tells what calls are open; see *intake.Service.
type Sessions interface {
	Sessions() []intake.Session
}

// Models tells what can be asked for and what became of it; see *dispatch.Dispatcher.
type Models interface {
	Models() []media.Model
	Inputs() []media.Input
	Totals() []media.ModelCounts
}

// Service implements sluicev1.InspectServiceServer, but for Explain. It is safe for concurrent use.
type Service struct {
	sluicev1.UnimplementedInspectServiceServer
	sessions Sessions
	models   Models
	feed     *Feed
}

// New makes the service. feed must be told every outcome.
func New(sessions Sessions, models Models, feed *Feed) *Service {
	return &Service{sessions: sessions, models: models, feed: feed}
}

// ListSessions implements InspectService.ListSessions.
func (s *Service) ListSessions(context.Context, *sluicev1.ListSessionsRequest) (*sluicev1.ListSessionsResponse, error) {
	resp, now := &sluicev1.ListSessionsResponse{}, time.Now()
	for _, session := range s.sessions.Sessions() {
		state := "open"
		if session.Draining {
			state = "draining"
		}
		resp.Sessions = append(resp.Sessions, &sluicev1.Session{
			Session: new(session.ID), StartTime: timestamppb.New(session.Started), State: new(state), Streams: wire.CountsToProto(session.Streams),
			Activity: wire.ActivityToProto(session.Activity, now),
		})
	}
	for _, c := range s.models.Totals() {
		resp.Totals = append(resp.Totals, wire.ModelCountsToProto(c))
	}
	return resp, nil
}

// ListModels implements InspectService.ListModels.
func (s *Service) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	resp := &sluicev1.ListModelsResponse{}
	for _, m := range s.models.Models() {
		resp.Models = append(resp.Models, wire.ModelToProto(m))
	}
	for _, in := range s.models.Inputs() {
		resp.Inputs = append(resp.Inputs, wire.InputToProto(in))
	}
	return resp, nil
}

// WatchOutcomes implements InspectService.WatchOutcomes.
func (s *Service) WatchOutcomes(req *sluicev1.WatchOutcomesRequest, stream grpc.ServerStreamingServer[sluicev1.WatchOutcomesResponse]) error {
	session, name, model := req.GetSession(), req.GetStream(), req.GetModel()
	w, err := s.feed.watch(func(o *media.Outcome) bool {
		return (session == "" || o.Session == session) && (name == "" || o.Stream == name) && (model == "" || o.Model == model)
	})
	if errors.Is(err, errTooMany) {
		return status.Errorf(codes.ResourceExhausted, "there are %d watchers already: end one of them", maxWatchers)
	}
	if err != nil {
		return status.Error(codes.Unavailable, "this router is shutting down")
	}
	defer s.feed.leave(w)
	if err := stream.SendHeader(nil); err != nil { // tells the watcher that it misses nothing from here on
		return err
	}
	for sent := uint32(0); req.Limit == nil || sent < req.GetLimit(); sent++ {
		o, skipped, err := w.next(stream.Context())
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil {
			return status.FromContextError(err).Err()
		}
		resp := &sluicev1.WatchOutcomesResponse{Outcome: wire.OutcomeToProto(o)}
		if skipped > 0 {
			resp.Skipped = new(skipped)
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
	return nil
}
