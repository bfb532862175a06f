package loss

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/edge"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/publish"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/relay"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/sink"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// The stream of every cell: small enough that two cores suffice for four at once, with two to three packets a frame, as calls have.
const (
	width, height = 480, 270
	rate          = 30
	kilobits      = 600
	clockRate     = 90000
	// keyEvery is the number of frames between key frames that nobody asked for.
	keyEvery = 2 * rate
	// keySpacing is how soon after a key frame the encoder answers a request with another one, as in browsers.
	keySpacing = 300 * time.Millisecond
	// drain is how long filming goes on after the last frame that counts: what comes later shows that it is missing.
	drain = worth + 200*time.Millisecond
	// firstTimestamp makes timestamps wrap about three seconds into the film.
	firstTimestamp = 1<<32 - 3*clockRate
)

// Cell is one combination of conditions.
type Cell struct {
	Codec string
	// Loss is the probability that a datagram is lost, of each direction.
	Loss float64
	// Trip is the round-trip time.
	Trip time.Duration
}

// Outcome is what a cell came to.
type Outcome struct {
	Cell
	account
	// Lost is the number of media packets lost on the way, retransmissions included, of Packets.
	Lost, Packets uint64
	// Plis and Nacks are requests that the edge sent, those lost on the way included.
	Plis, Nacks uint64
	// Tardy is the number of frames that the encoder gave more than a frame's time late, because the machine was busy.
	Tardy int
}

// Goal is the share of frames that a cell must reach; zero means none.
func (c Cell) Goal() float64 {
	switch c.Loss {
	case 0.01:
		return 0.99
	case 0.05:
		return 0.95
	case 0.10:
		return 0.85
	default:
		return 0
	}
}

// Met tells whether the cell reached its goal and delivered no damaged picture.
func (o Outcome) Met() bool { return o.Damaged == 0 && o.share() >= o.Goal() }

// run plays one cell.
type run struct {
	Cell
	native string
	edge   *edge.Edge
	board  *board
	length time.Duration

	units [][]byte
	shots []shot
	tardy int
}

// play publishes a live stream over the bad path, and holds what the router got against what was sent.
func (r *run) play(ctx context.Context, seed uint64) (_ Outcome, err error) {
	path, err := relay.Listen(relay.Config{Server: r.edge.ICE, Delay: r.Trip / 2, Seed: seed})
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, path.Close()) }()
	p, err := publish.Connect(ctx, publish.Config{
		Endpoint: r.edge.Endpoint + "?model=" + sink.Model, Codec: r.Codec, Address: net.IPv4(127, 0, 0, 1), Rate: kilobits * 1000,
		Path: func(answer string) (string, error) {
			return publish.WithCandidate(answer, path.Address().Addr().String(), path.Address().Port()), nil
		},
	})
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }() //nolint:contextcheck // the session is ended also when ctx is what ended
	if !p.Retransmits() {
		return Outcome{}, errors.New("the edge accepted no retransmissions (RFC 4588)")
	}
	arrived := r.board.follow(p.SSRC())
	verdicts := listen(ctx, p)
	path.Lose(r.Loss)
	err = r.film(ctx, p)
	end := time.Now()
	said, failure := verdicts()
	if err := errors.Join(err, failure); err != nil {
		return Outcome{}, err
	}
	deliveries := arrived()
	toServer, toClient := path.Stats()
	if toServer.Overflowed+toClient.Overflowed > 0 {
		return Outcome{}, errors.New("the relay lost packets of its own: the machine is too busy")
	}
	truth, err := decode(ctx, r.native, r.Codec, r.units)
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{
		Cell: r.Cell, account: reckon(r.shots, int(r.length.Seconds()*rate), truth, deliveries, said, end), Tardy: r.tardy,
		Lost: toServer.MediaLost, Packets: toServer.Media, Plis: toClient.Plis, Nacks: toClient.Nacks,
	}, nil
}

// film encodes and sends in real time, answering requests for key frames.
func (r *run) film(ctx context.Context, p *publish.Publisher) (err error) {
	e, err := startEncoder(ctx, r.native, r.Codec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	frames := int((r.length + drain).Seconds() * rate)
	start, timer := time.Now(), time.NewTimer(0)
	defer timer.Stop()
	lastKey, wanted := time.Time{}, true
	for n := range frames {
		timer.Reset(time.Until(start.Add(time.Duration(n) * time.Second / rate)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		now := time.Now()
		wanted = p.KeyWanted() || wanted
		key := n%keyEvery == 0 || wanted && now.Sub(lastKey) >= keySpacing
		if key {
			lastKey, wanted = now, false
		}
		unit, err := e.next(key)
		if err != nil {
			return err
		}
		if time.Since(start) > time.Duration(n+1)*time.Second/rate {
			r.tardy++
		}
		stamp := uint32(firstTimestamp + uint64(n)*clockRate/rate)
		r.units = append(r.units, unit)
		r.shots = append(r.shots, shot{stamp, now})
		if err := p.Send(unit, stamp); err != nil {
			return fmt.Errorf("frame %d: %w", n, err)
		}
	}
	return nil
}

// listen collects what the edge says of units that it gives up, until it is asked for that.
func listen(ctx context.Context, p *publish.Publisher) (stop func() (map[uint32]verdict, error)) {
	ctx, cancel := context.WithCancel(ctx)
	said, done := make(map[uint32]verdict), make(chan error, 1)
	go func() { // joined by stop
		done <- p.Outcomes(ctx, func(o *sluicev1.Outcome) {
			switch {
			case o.GetDrop() != nil:
				said[o.GetRtpTimestamp()] = verdict{time.Now(), o.GetDrop().GetReason().String()}
			case o.GetError() != nil:
				said[o.GetRtpTimestamp()] = verdict{time.Now(), o.GetError().GetCode().String()}
			}
		})
	}()
	return func() (map[uint32]verdict, error) {
		cancel()
		err := <-done
		return said, err
	}
}

// board sorts what reaches the router by its source. It is safe for concurrent use.
type board struct {
	mu         sync.Mutex
	deliveries map[uint32][]delivery
}

func newBoard() *board { return &board{deliveries: make(map[uint32][]delivery)} }

// note takes a frame of the router's.
func (b *board) note(f sink.Frame) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, followed := b.deliveries[f.SSRC]; followed {
		p := picture{width: f.SourceWidth, height: f.SourceHeight, sum: f.Sum}
		b.deliveries[f.SSRC] = append(b.deliveries[f.SSRC], delivery{f.Timestamp, f.Arrival, p})
	}
}

// follow collects the pictures of a source until it is asked for them.
func (b *board) follow(ssrc uint32) (arrived func() []delivery) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deliveries[ssrc] = []delivery{}
	return func() []delivery {
		b.mu.Lock()
		defer b.mu.Unlock()
		d := b.deliveries[ssrc]
		delete(b.deliveries, ssrc)
		return d
	}
}
