// Package inspect is the edge's InspectService: what an operator asks a running edge with grpcurl.
package inspect

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/fanout"
)

// Source is what the service looks at. It must be safe for concurrent use. What it returns is the service's, to sort, but not its parts.
type Source interface {
	// Sessions gives the sessions that are alive, in any order.
	Sessions() []Session
	// Totals gives the counts by model since the start, of ended sessions too, in any order.
	Totals() []media.ModelCounts
	// Models gives the models that can be asked for, and their inputs.
	Models() ([]media.Model, []media.Input)
	// Explain gives what is known of a unit; false when the session is unknown or the unit no longer kept.
	Explain(session, stream string, sequence uint32) (ledger.Life, bool)
}

// Session is one client's connection.
type Session struct {
	// ID is the public id.
	ID    string
	Start time.Time
	// State is connecting, connected, disconnected or draining.
	State   string
	Streams []media.StreamCounts
	// Activity tells, in the same order, how busy they are.
	Activity []media.StreamActivity
}

// Register adds the service to a gRPC server, which validates requests by the rules of the proto.
func Register(r grpc.ServiceRegistrar, source Source, feed *Feed) {
	sluicev1.RegisterInspectServiceServer(r, &service{source: source, feed: feed})
}

type service struct {
	sluicev1.UnimplementedInspectServiceServer
	source Source
	feed   *Feed
}

func (s *service) ListSessions(context.Context, *sluicev1.ListSessionsRequest) (*sluicev1.ListSessionsResponse, error) {
	sessions, totals := slices.Clone(s.source.Sessions()), slices.Clone(s.source.Totals())
	slices.SortFunc(sessions, func(a, b Session) int { return a.Start.Compare(b.Start) })
	slices.SortFunc(totals, func(a, b media.ModelCounts) int { return strings.Compare(a.Model, b.Model) })
	resp, now := &sluicev1.ListSessionsResponse{}, time.Now()
	for _, one := range sessions {
		resp.Sessions = append(resp.Sessions, &sluicev1.Session{
			Session: new(one.ID), StartTime: timestamppb.New(one.Start), State: new(one.State), Streams: wire.CountsToProto(one.Streams),
			Activity: wire.ActivityToProto(one.Activity, now),
		})
	}
	for _, c := range totals {
		resp.Totals = append(resp.Totals, wire.ModelCountsToProto(c))
	}
	return resp, nil
}

func (s *service) ListModels(context.Context, *sluicev1.ListModelsRequest) (*sluicev1.ListModelsResponse, error) {
	models, inputs := s.source.Models()
	models = slices.SortedFunc(slices.Values(models), func(a, b media.Model) int { return strings.Compare(a.Name, b.Name) })
	resp := &sluicev1.ListModelsResponse{}
	for _, m := range models {
		resp.Models = append(resp.Models, wire.ModelToProto(m))
	}
	for _, in := range inputs {
		resp.Inputs = append(resp.Inputs, wire.InputToProto(in))
	}
	return resp, nil
}

func (s *service) Explain(_ context.Context, req *sluicev1.ExplainRequest) (*sluicev1.ExplainResponse, error) {
	unit, ok := s.source.Explain(req.GetSession(), req.GetStream(), req.GetSequence())
	if !ok {
		return nil, status.Errorf(codes.NotFound,
			"unit %d of stream %q in session %q is not kept: the last 512 units of a stream are, until 60 s after its end, and of as many ended sessions as may live at once",
			req.GetSequence(), req.GetStream(), req.GetSession())
	}
	return explain(unit), nil
}

func (s *service) WatchOutcomes(req *sluicev1.WatchOutcomesRequest, stream grpc.ServerStreamingServer[sluicev1.WatchOutcomesResponse]) error {
	session, name, model := req.GetSession(), req.GetStream(), req.GetModel()
	reader, err := s.feed.ring.Subscribe(fanout.Live, fanout.Choice[media.Outcome]{Wants: func(o media.Outcome) bool {
		return (session == "" || o.Session == session) && (name == "" || o.Stream == name) && (model == "" || o.Model == model)
	}})
	if err != nil {
		return status.Errorf(codes.ResourceExhausted, "there are %d watchers already; end one of them", maxWatchers)
	}
	defer reader.Close()
	if err := stream.SendHeader(nil); err != nil { // tells the watcher that it misses nothing from here on
		return err
	}
	for sent := uint32(0); req.Limit == nil || sent < req.GetLimit(); sent++ {
		item, err := reader.Next(stream.Context())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return status.FromContextError(err).Err()
		}
		resp := &sluicev1.WatchOutcomesResponse{Outcome: wire.OutcomeToProto(item.Value)}
		if item.Skipped > 0 {
			resp.Skipped = new(uint32(min(item.Skipped, math.MaxUint32)))
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
	return nil
}
