package uplink

import (
	"math"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

func (c *conversation) demand(d media.Demand) error {
	return c.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Demand{Demand: wire.DemandToProto(d)}})
}

func TestDemandsEndWithTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		end := make(chan struct{})
		n.start("a", func(c *conversation) error {
			if err := c.welcomeFaces(1); err != nil {
				return err
			}
			for _, d := range []media.Demand{
				{Stream: "camera", Model: "faces", MaxFramerate: 10}, {Stream: "camera", Model: "faces", MaxFramerate: 5},
				{Stream: "camera", Model: "cats", MaxFramerate: 5},              // not of this call
				{Stream: "camera", Model: "faces", MaxFramerate: math.Inf(1)},   // no rate
				{Stream: "screen", Model: "faces"},                              // ends what was never demanded
				{Stream: "other", Model: "faces", MaxFramerate: 2, MaxWidth: 3}, // half a size is none
			} {
				if err := c.demand(d); err != nil {
					return err
				}
			}
			<-end
			return nil
		})
		s := openSession(t, n.pool("a"))
		s.until("the demands", func() bool { return len(s.demands) >= 3 })
		synctest.Wait()
		s.Forget("other")
		s.until("the end of a stream's", func() bool { return len(s.demands) == 4 })
		close(end)
		s.until("the end of the call's", func() bool { return len(s.demands) >= 5 })
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		want := []media.Demand{
			{Stream: "camera", Model: "faces", MaxFramerate: 10}, {Stream: "camera", Model: "faces", MaxFramerate: 5},
			{Stream: "other", Model: "faces", MaxFramerate: 2}, {Stream: "other", Model: "faces"}, {Stream: "camera", Model: "faces"},
		}
		if !slices.Equal(s.demands[:5], want) {
			t.Errorf("demands %+v, want %+v", s.demands, want)
		}
	})
}

func TestDemandsAreBounded(t *testing.T) {
	t.Parallel()
	c := newCall(nil, func() {})
	c.needs = &needs{takes: map[string]uint32{"faces": 1}}
	for i := range 2 * maxDemands {
		c.demand(media.Demand{Stream: strconv.Itoa(i), Model: "faces", MaxFramerate: 1})
	}
	if len(c.demands) != maxDemands {
		t.Errorf("%d demands are kept, want %d", len(c.demands), maxDemands)
	}
	if !c.demand(media.Demand{Stream: "0", Model: "faces", MaxFramerate: 2}) {
		t.Error("a demand that is known cannot change any more")
	}
}
