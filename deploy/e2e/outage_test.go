//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/deploy/e2e/client"
	"github.com/sluice-dev/sluice/deploy/e2e/counter"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

const (
	outage = 3 * time.Second
	// outageRate is how many pictures a second the model looks at, so one interval is 100 ms.
	outageRate = 10
	interval   = time.Second / outageRate
	// outageDeadline is the model's (counter.Serve), and what DESIGN 5 allows beyond.
	outageDeadline = 500*time.Millisecond + 50*time.Millisecond
	// backLimit is how long the first result may take once the network is back: SCTP tries again every 2 s at the latest, and the clip has a key frame a second.
	backLimit = 5 * time.Second
	label     = "pictures"
)

// answered is a result as the client got it.
type answered struct {
	at   time.Time
	sent time.Time // when the picture that it is about was sent
}

// sender sends pictures through a relay and notes when each one left and when its result came back.
type sender struct {
	*client.Client
	send func(n int) error
	// name gives the number of the picture that an outcome is about.
	name func(o relayedOutcome) (int, error)

	mu      sync.Mutex
	sent    []time.Time
	results []answered
	strange []string
}

type relayedOutcome struct {
	RTPTimestamp uint32
	Result       *struct {
		Tensors []struct{ Values []int }
	}
}

// hear takes a message of the edge.
func (s *sender) hear(text []byte) {
	now := time.Now()
	var m struct{ Outcome *relayedOutcome }
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.Unmarshal(text, &m); err != nil {
		s.strange = append(s.strange, fmt.Sprintf("%v in %s", err, text))
		return
	}
	if m.Outcome == nil || m.Outcome.Result == nil {
		return
	}
	n, err := s.name(*m.Outcome)
	if err != nil || n < 0 || n >= len(s.sent) {
		s.strange = append(s.strange, fmt.Sprintf("a result for picture %d, %v: %s", n, err, text))
		return
	}
	s.results = append(s.results, answered{at: now, sent: s.sent[n]})
}

// pace sends pictures at a rate until the context ends.
func (s *sender) pace(ctx context.Context, rate int) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-s.Failed():
			return fmt.Errorf("the edge ended the session after %d pictures", n)
		case <-tick.C:
		}
		s.mu.Lock()
		s.sent = append(s.sent, time.Now())
		s.mu.Unlock()
		if err := s.send(n); err != nil {
			return fmt.Errorf("picture %d: %w", n, err)
		}
	}
}

// since gives the results that came after a moment.
func (s *sender) since(moment time.Time) (after []answered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.results {
		if r.at.After(moment) {
			after = append(after, r)
		}
	}
	return after
}

// Show 6: after three seconds without a network nothing stale is delivered, and the first result is about a picture that was sent less than one interval before the network came back. What
// goes by a track is numbered by its RTP timestamps; what goes by a data channel, as JPEG, has its number drawn in. The client does what one that sends live
// pictures must: its channels send nothing twice, and it hands over no picture while another one has not left. Who lets the channel repeat them for ever asks for old ones.
func TestOutage(t *testing.T) {
	beside(t, 0.2)
	s := stack.Start(t, stack.Options{Router: counter.Serve(t, outageRate)})
	for _, c := range []struct {
		name string
		rate int
		make func(t *testing.T, options client.Options) *sender
	}{{"track", 30, trackSender}, {"images", outageRate, imageSender}} {
		t.Run(c.name, func(t *testing.T) {
			cable := newRelay(t, netip.MustParseAddrPort(s.ICE))
			from := c.make(t, client.Options{
				Edge: s.HTTP, Models: []string{"counter"}, Live: true, Relay: cable.address, HTTP: &http.Client{Timeout: 20 * time.Second},
			})
			defer from.Close()
			connected, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, step := range []func() error{
				func() error { return from.Post(connected) }, from.Accept, func() error { return from.Connected(connected) },
			} {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			sending, stop := context.WithCancel(t.Context())
			defer stop()
			paced := make(chan error, 1)
			go func() { paced <- from.pace(sending, c.rate) }()
			stack.Eventually(t, 20*time.Second, "results flow", func() error { return enough(from.since(time.Time{}), 2*outageRate) })

			cable.cut.Store(true)
			<-time.After(outage)
			cable.cut.Store(false)
			back := time.Now()
			stack.Eventually(t, backLimit, "a result comes after the outage", func() error { return enough(from.since(back), 1) })
			stack.Eventually(t, 10*time.Second, "results flow again", func() error { return enough(from.since(back), 2*outageRate) })
			stop()
			if err := <-paced; err != nil {
				t.Error(err)
			}
			checkFresh(t, from, back)
		})
	}
}

func enough(results []answered, want int) error {
	if len(results) < want {
		return fmt.Errorf("%d results, want %d", len(results), want)
	}
	return nil
}

// checkFresh holds the results that came after the outage against when their pictures were sent.
func checkFresh(t *testing.T, s *sender, back time.Time) {
	t.Helper()
	after := s.since(back)
	first := after[0]
	t.Logf("the first result came %s after the network, about a picture sent %s after it came back", first.at.Sub(back).Round(time.Millisecond), first.sent.Sub(back).Round(time.Millisecond))
	for _, r := range after {
		if r.sent.Before(back.Add(-interval)) {
			t.Errorf("stale: a result %s after the network came back is about a picture sent %s before", r.at.Sub(back), back.Sub(r.sent))
		}
		if age := r.at.Sub(r.sent); age > interval+outageDeadline {
			t.Errorf("a result is %s old when it comes", age)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.strange {
		t.Error(text)
	}
}

// trackSender sends a clip as a video track.
func trackSender(t *testing.T, options client.Options) *sender {
	t.Helper()
	pictures, err := client.ReadIVF(stack.Clip(t, "gst-vp8.ivf"))
	if err != nil {
		t.Fatal(err)
	}
	const base, tick = 0xfffff000, 3000 // The timestamp wraps within the first second.
	s := &sender{name: func(o relayedOutcome) (int, error) {
		apart := o.RTPTimestamp - base
		if apart%tick != 0 {
			return 0, fmt.Errorf("RTP timestamp %d was not sent", o.RTPTimestamp)
		}
		return int(apart / tick), nil
	}}
	options.Video, options.Messages, options.OnMessage = webrtc.MimeTypeVP8, true, s.hear
	s.send = func(n int) error { return s.SendPicture(pictures[n%len(pictures)], base+uint32(n)*tick) }
	s.Client = connectable(t, options)
	return s
}

// imageSender sends JPEG pictures with their number drawn in.
func imageSender(t *testing.T, options client.Options) *sender {
	t.Helper()
	s := &sender{name: func(o relayedOutcome) (int, error) {
		if len(o.Result.Tensors) != 1 || len(o.Result.Tensors[0].Values) != 1 {
			return 0, fmt.Errorf("no number")
		}
		return o.Result.Tensors[0].Values[0], nil
	}}
	options.Label, options.OnMessage = label, s.hear
	s.send = func(n int) error {
		if s.Channel.BufferedAmount() > 0 {
			return nil
		}
		return s.Channel.Send(counter.JPEG(n))
	}
	s.Client = connectable(t, options)
	return s
}

func connectable(t *testing.T, options client.Options) *client.Client {
	t.Helper()
	c, err := client.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
