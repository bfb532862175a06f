//go:build soak

package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/client"
	"github.com/sluice-dev/sluice/deploy/e2e/counter"
)

// The ways in which a session ends. Those from cut on say nothing: the edge finds out by its own timers.
const (
	orderly    = iota // says bye at the end of its media
	deleted           // DELETE in the middle of its media
	hungUp            // closes the connection, without DELETE
	abandoned         // DELETE in the middle of the handshake
	flooded           // opens too many channels, sends too much, and hangs up
	cut               // breaks the POST of its offer off
	unanswered        // does nothing with the answer
	silenced          // falls silent in the middle of the handshake
	killed            // falls silent in the middle of its media
	endings
)

// firstSilent is the first ending that the edge is told nothing of.
const firstSilent = cut

var endingNames = [endings]string{"orderly", "deleted", "hung up", "abandoned", "flooded", "cut", "unanswered", "silenced", "killed"}

const (
	// stepLimit bounds each step that the edge answers to.
	stepLimit = 30 * time.Second
	// endLimit bounds how long the edge may take to find out that a client is gone: 30 s for one that never connected, 20 s for one that fell silent, and the end itself.
	endLimit = 60 * time.Second
	tick     = time.Second / frameRate
	rtpTick  = 90000 / frameRate
	packet   = 20 * time.Millisecond // of sound
	opusTick = 48000 / 50
	images   = "images" // the label of the channel that pictures are sent on
)

// world is what all lives share. It is safe for concurrent use.
type world struct {
	edge  string
	clips []clip
	web   *http.Client
	total *total

	mu sync.Mutex
	// ports were left by clients that were killed; others come back on them, as behind a NAT, while the edge may still hold the dead ones' sessions.
	ports []int
}

// pictures and voice are the sources beyond the clips: pictures over a data channel, and sound.
func (w *world) pictures() int { return len(w.clips) }
func (w *world) voice() int    { return len(w.clips) + 1 }

func (w *world) leavePort(port int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports = append(w.ports, port)
}

func (w *world) takePort() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ports) == 0 {
		return 0
	}
	port := w.ports[0]
	w.ports = w.ports[1:]
	return port
}

// life is one client's, from its first packet to the edge's last word about it. All chance is in these fields, so that a seed gives the same lives again.
type life struct {
	*world
	number int
	ending int
	// source is a clip's number, or that of pictures over a data channel, or that of sound.
	source int
	start  int           // the picture of the clip to begin with
	base   uint32        // the first RTP timestamp
	stay   time.Duration // how long media flow
	early  time.Duration // how long after the last step one gives up who gives up early
}

// newLife plans a life. quiet allows endings that the edge is not told of.
func newLife(w *world, seed uint64, number int, quiet bool) *life {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	count := endings
	if !quiet {
		count = firstSilent
	}
	return &life{
		world: w, number: number, ending: r.IntN(count), source: r.IntN(w.voice() + 1), start: clipGroup * r.IntN(clipFrames/clipGroup), base: r.Uint32(),
		stay: time.Duration(500+r.IntN(2000)) * time.Millisecond, early: time.Duration(r.IntN(60)) * time.Millisecond,
	}
}

// run lives it and puts it in the books.
func (l *life) run(ctx context.Context) {
	book := &book{seen: map[string]bool{}, right: l.right}
	err := l.live(ctx, book)
	if err != nil {
		err = fmt.Errorf("session %d (%s): %w", l.number, book.session, err)
	}
	l.total.add(endingNames[l.ending], book.summary, err)
}

// right tells whether a result is about what this client sent: the picture with its number, or a window of its sound.
func (l *life) right(o *outcome) error {
	apart := o.RTPTimestamp - l.base
	if l.source == l.voice() {
		// Windows of 512 samples begin anywhere among packets of 20 ms, but on this client's own clock.
		if len(o.Result.Speech) != 1 || o.Stream != "audio" || apart%(opusTick/5) != 0 || apart > uint32((l.stay+time.Second)/time.Millisecond)*48 {
			return errors.New("a result about other sound than was sent")
		}
		return nil
	}
	want := l.number % counter.Limit
	if o.Stream != images {
		if apart%rtpTick != 0 || apart > 3600*90000 {
			return errors.New("an outcome for a picture that was not sent")
		}
		want = (l.start + int(apart/rtpTick)) % clipFrames
	}
	if len(o.Result.Tensors) != 1 || len(o.Result.Tensors[0].Values) != 1 || o.Result.Tensors[0].Values[0] != want {
		return fmt.Errorf("the model saw another picture than the one numbered %d", want)
	}
	return nil
}

func (l *life) live(ctx context.Context, book *book) error {
	options := client.Options{Edge: l.edge, Models: []string{"counter", "speech"}, Opus: l.source == l.voice(), Label: images, Messages: l.ending == orderly, Port: l.takePort(), HTTP: l.web}
	if l.source < len(l.clips) {
		options.Video = l.clips[l.source].codec
	}
	c, err := client.New(options)
	if err != nil {
		return err
	}
	port := c.Port()
	if done, err := l.post(ctx, c); done || err != nil {
		c.Close()
		return err
	}
	book.session = c.ID
	followed := make(chan error, 1)
	reading, stop := context.WithTimeout(ctx, stepLimit+l.stay+endLimit)
	defer stop()
	go func() { followed <- client.Follow(reading, l.web, l.edge, c.ID, book.take) }() // Joined below, on every way.
	err = l.onward(ctx, c)
	if l.ending == orderly && err == nil {
		err = <-followed // who says bye stays until the edge has had its say
		followed <- nil
	}
	c.Close()
	if l.ending == killed {
		l.leavePort(port)
	}
	if err := errors.Join(err, <-followed); err != nil {
		return err
	}
	return book.check()
}

// post posts the offer. done tells that this was all.
func (l *life) post(ctx context.Context, c *client.Client) (done bool, err error) {
	limit := stepLimit
	if l.ending == cut {
		limit = l.early / 4
	}
	step, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = c.Post(step)
	if l.ending == cut && err != nil { // as it was meant to; one that was too late does nothing with the answer
		return true, nil
	}
	return false, err
}

// onward goes on from the answer to the client's end.
func (l *life) onward(ctx context.Context, c *client.Client) error {
	switch l.ending {
	case cut, unanswered:
		return nil
	}
	if err := c.Accept(); err != nil {
		return err
	}
	switch l.ending {
	case silenced:
		l.wait(ctx, l.early)
		c.Kill()
		return nil
	case abandoned:
		l.wait(ctx, l.early)
		return l.delete(ctx, c)
	}
	step, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if err := c.Connected(step); err != nil {
		return err
	}
	if l.ending == flooded {
		l.flood(c)
		return nil
	}
	if err := l.send(ctx, c); err != nil {
		return err
	}
	switch l.ending {
	case orderly:
		return c.Bye()
	case deleted:
		return l.delete(ctx, c)
	case killed:
		c.Kill()
	}
	return nil
}

// send sends media for as long as the client stays.
func (l *life) send(ctx context.Context, c *client.Client) error {
	interval, unit := tick, l.picture
	switch l.source {
	case l.pictures():
		picture := counter.JPEG(l.number % counter.Limit)
		unit = func(*client.Client, int) error { return c.Channel.Send(picture) }
	case l.voice():
		interval = packet
		unit = l.packet
	}
	timer := time.NewTicker(interval)
	defer timer.Stop()
	for n := range int(l.stay / interval) {
		select {
		case <-timer.C:
		case <-c.Failed():
			return errors.New("the edge ended the session")
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := unit(c, n); err != nil {
			return err
		}
	}
	return nil
}

// picture sends picture n of the life's clip.
func (l *life) picture(c *client.Client, n int) error {
	pictures := l.clips[l.source].pictures
	return c.SendPicture(pictures[(l.start+n)%len(pictures)], l.base+uint32(n)*rtpTick)
}

// packet sends packet n of sound: 20 ms of Opus in which nothing is heard.
func (l *life) packet(c *client.Client, n int) error {
	return c.SendSound([]byte{0xf8, 0xff, 0xfe}, l.base+uint32(n)*opusTick)
}

// flood takes more than there is. The edge may hang up at any time, so an error is no failure.
func (l *life) flood(c *client.Client) {
	c.Flood(40)
	for range 40 {
		if c.Channel.Send(make([]byte, 100<<10)) != nil {
			return
		}
	}
}

func (l *life) delete(ctx context.Context, c *client.Client) error {
	step, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	return c.Delete(step)
}

// wait waits, for as long as ctx allows.
func (l *life) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
