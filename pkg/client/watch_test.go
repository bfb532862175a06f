package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// call is how a service answers one call: with outcomes of these sequences, and then with an error.
type call struct {
	refused   bool // without headers: the watch never stood
	sequences []uint32
	ends      error
}

// service answers calls in turn; the last answer is given again and again.
type service struct {
	calls []call
	asked []*sluicev1.WatchOutcomesRequest
}

func (s *service) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return status.Error(codes.Unimplemented, "")
}

func (s *service) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	c := s.calls[min(len(s.asked), len(s.calls)-1)]
	return &answering{ctx: ctx, service: s, call: c}, nil
}

// answering is the client's end of one call.
type answering struct {
	grpc.ClientStream
	ctx     context.Context
	service *service
	call    call
}

func (a *answering) SendMsg(m any) error {
	request, _ := m.(*sluicev1.WatchOutcomesRequest)
	a.service.asked = append(a.service.asked, request)
	return nil
}

func (a *answering) CloseSend() error { return nil }

func (a *answering) Header() (metadata.MD, error) {
	if a.call.refused {
		return nil, nil
	}
	return metadata.MD{}, nil
}

func (a *answering) RecvMsg(m any) error {
	if len(a.call.sequences) == 0 {
		if a.call.ends != nil {
			return a.call.ends
		}
		<-a.ctx.Done()
		return status.FromContextError(a.ctx.Err()).Err()
	}
	response, _ := m.(*sluicev1.WatchOutcomesResponse)
	proto.Merge(response, &sluicev1.WatchOutcomesResponse{Outcome: &sluicev1.Outcome{Sequence: &a.call.sequences[0]}, Skipped: new(a.call.sequences[0] / 10)})
	a.call.sequences = a.call.sequences[1:]
	return nil
}

func TestWatch(t *testing.T) {
	t.Parallel()
	gone := status.Error(codes.Unavailable, "connection refused")
	for _, c := range []struct {
		name  string
		calls []call
		want  string // the sequences; * marks one after a gap, + one after skipped outcomes
		fails string
	}{
		{name: "a call", calls: []call{{sequences: []uint32{1, 2, 30}}}, want: "1 2 30+"},
		{name: "a service that starts late", calls: []call{{refused: true, ends: gone}, {refused: true, ends: gone}, {sequences: []uint32{1}}}, want: "1"},
		{name: "a service that is restarted", calls: []call{{sequences: []uint32{1, 2}, ends: io.EOF}, {refused: true, ends: gone}, {sequences: []uint32{3, 4}}}, want: "1 2 3* 4"},
		{name: "a connection that breaks before the first outcome", calls: []call{{ends: gone}, {sequences: []uint32{1, 2}}}, want: "1* 2"},
		{name: "a service with too many watchers", calls: []call{{refused: true, ends: status.Error(codes.ResourceExhausted, "16 watchers already")}}, fails: "16 watchers already"},
		{name: "a service that is gone", calls: []call{{sequences: []uint32{1}, ends: gone}, {refused: true, ends: gone}}, want: "1", fails: "given up after 1m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, want := &service{calls: c.calls}, strings.Fields(c.want)
				var got []string
				var failed error
				for w, err := range Watch(t.Context(), s, Selection{Session: "abc", Model: "faces"}) {
					if failed = err; err != nil {
						continue
					}
					got = append(got, mark(w))
					if len(got) == len(want) && c.fails == "" {
						break
					}
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("watched %v, want %s", got, c.want)
				}
				if c.fails == "" && failed != nil || c.fails != "" && (failed == nil || !strings.Contains(failed.Error(), c.fails)) {
					t.Errorf("it ended with %v, want %q", failed, c.fails)
				}
				if r := s.asked[0]; r.GetSession() != "abc" || r.GetModel() != "faces" || r.Stream != nil || r.Limit != nil {
					t.Errorf("asked for %v", r)
				}
			})
		})
	}
}

func mark(w Watched) string {
	text := fmt.Sprint(w.Outcome.GetSequence())
	if w.Reconnected {
		text += "*"
	}
	if w.Skipped > 0 {
		text += "+"
	}
	return text
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var last error
	for w, err := range Watch(ctx, &service{calls: []call{{sequences: []uint32{1}}}}, Selection{}) {
		if last = err; w.Outcome != nil {
			cancel()
		}
	}
	cancel()
	if !errors.Is(last, context.Canceled) {
		t.Errorf("it ended with %v", last)
	}
}
