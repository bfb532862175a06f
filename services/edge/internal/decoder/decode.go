package decoder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/header"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Decode feeds a unit, in its stream's order, and gives the pictures that came out, which for H.264 may be those of earlier units. The
// context bounds the wait for other streams' units; the unit itself is bounded by the configured timeout. Pictures may come with an
// error: those of earlier units, or of some of the targets. The caller releases every picture. Errors are of type *Error. A unit that shows
// nothing (parameter sets, a VP8 frame that is only referred to) gives neither picture nor error.
// One without targets may wait for the next one; if it then cannot be decoded, that one's error says so.
func (d *Decoder) Decode(ctx context.Context, r Request) ([]Picture, error) {
	s, err := d.stream(r)
	if err != nil {
		return nil, err
	}
	if err := d.take(ctx); err != nil {
		needKey := !r.Unit.Codec.Intra()
		if needKey {
			s.needKey.Store(true)
		}
		return nil, &Error{Drop: media.Overloaded, NeedKey: needKey, Err: fmt.Errorf("waiting for the decoder: %w", err)}
	}
	defer d.pass()
	request, failure := d.admit(s, r)
	if failure != nil {
		return nil, failure
	}
	if s.keep(r, &request) {
		return nil, nil
	}
	proc, err := d.running()
	if err != nil {
		s.lose()
		if errors.Is(err, ErrClosed) {
			return nil, &Error{Drop: media.Draining, Err: err}
		}
		return nil, &Error{Code: media.DecoderError, NeedKey: s.needKey.Load(), Crashed: true, Err: err}
	}
	begin := time.Now()
	short := d.lease(s, r, &request)
	request.Ahead = s.ahead.units
	d.shared.setInput(s.ahead.bytes, r.Unit.Data)
	s.ahead.drop()
	if err := d.exchange(proc, &request); err != nil {
		s.lose()
		if d.crashed(proc, err) {
			return nil, &Error{Drop: media.Draining, Err: ErrClosed}
		}
		return nil, &Error{Code: media.DecoderError, NeedKey: s.needKey.Load(), Crashed: true, Err: err}
	}
	return d.collect(proc, s, len(request.Ahead), time.Since(begin), short)
}

// stream gives the state of the request's stream, made anew when it is unknown or has changed its codec.
func (d *Decoder) stream(r Request) (*stream, error) {
	if r.Unit.Codec.Kind() != media.KindPicture {
		return nil, &Error{Code: media.Unsupported, Err: fmt.Errorf("codec %v", r.Unit.Codec)}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, &Error{Drop: media.Draining, Err: ErrClosed}
	}
	s := d.streams[r.Stream]
	if s != nil {
		return s, nil
	}
	if len(d.streams) >= maxStreams {
		return nil, &Error{Drop: media.Overloaded, Err: fmt.Errorf("%d streams are decoded already", len(d.streams))}
	}
	s = &stream{codec: r.Unit.Codec}
	s.needKey.Store(!s.codec.Intra())
	d.streams[r.Stream] = s
	return s, nil
}

// lose notes that a unit did not reach the decoder. The turn is held.
func (s *stream) lose() {
	if !s.codec.Intra() {
		s.needKey.Store(true)
	}
}

// admit checks a unit before any C code sees it, and begins its message.
func (d *Decoder) admit(s *stream, r Request) (ipc.Request, *Error) {
	if s.codec != r.Unit.Codec {
		s.abandon(d.shared)
		s.codec, s.width, s.height = r.Unit.Codec, 0, 0
		s.needKey.Store(!s.codec.Intra())
	}
	reject := func(e Error) (ipc.Request, *Error) {
		s.lose()
		e.NeedKey = s.needKey.Load()
		return ipc.Request{}, &e
	}
	if len(r.Unit.Data) > d.cfg.MaxUnit {
		return reject(Error{Drop: media.TooLarge, Err: fmt.Errorf("a unit of %d bytes, at most %d are allowed", len(r.Unit.Data), d.cfg.MaxUnit)})
	}
	if len(r.Targets) > ipc.MaxTargets {
		return reject(Error{Code: media.Internal, Err: fmt.Errorf("%d targets, at most %d are possible", len(r.Targets), ipc.MaxTargets)})
	}
	key := r.Unit.Key || s.codec.Intra()
	if s.needKey.Load() {
		s.ahead.drop() // a key unit refers to none of them
	}
	if s.needKey.Load() && !key {
		return reject(Error{Drop: media.Damaged, Err: errors.New("a key unit is awaited")})
	}
	info := header.Info{Orientation: 1, Whole: true}
	if key || s.codec == media.VP9 { // whose sizes change with any picture
		info = header.Read(r.Unit.Codec, r.Unit.Data)
	}
	if info.Pixels > int64(d.cfg.MaxWidth)*int64(d.cfg.MaxHeight) || max(info.Width, info.Height) > ipc.MaxSide {
		err := fmt.Errorf("a picture of %d×%d pixels, at most as many as %d×%d has are allowed", info.Width, info.Height, d.cfg.MaxWidth, d.cfg.MaxHeight)
		return reject(Error{Code: media.Unsupported, Err: err})
	}
	if !info.Whole {
		return reject(Error{Code: media.DecoderError, Err: errors.New("the end of the picture is missing")})
	}
	if key || info.Width > 0 {
		s.width, s.height = uint16(info.Width), uint16(info.Height)
	}
	if !s.codec.Intra() {
		info.Orientation = orientation(r.Unit.Rotation)
	}
	width, height := swap(info.Orientation, s.width, s.height)
	return ipc.Request{
		Op: ipc.Decode, Codec: r.Unit.Codec, Stream: r.Stream, Tag: r.Tag, Size: uint32(len(r.Unit.Data)),
		Orientation: info.Orientation, Key: key, Width: width, Height: height,
	}, nil
}

// orientation gives EXIF's for degrees clockwise.
func orientation(rotation uint16) uint8 {
	switch rotation {
	case 90:
		return 6
	case 180:
		return 3
	case 270:
		return 8
	default:
		return 1
	}
}

// lease sets slots aside for the targets and says why some got none. The unit is decoded all the same, for later units' sake.
func (d *Decoder) lease(s *stream, r Request, request *ipc.Request) (short *Error) {
	s.units++
	if len(r.Targets) == 0 {
		return nil
	}
	p := pending{tag: r.Tag, unit: s.units, orientation: request.Orientation, leases: make([]lease, 0, len(r.Targets))}
	for i, in := range r.Targets {
		if err := ipc.CheckInput(in, d.layout.SlotBytes); err != nil {
			short = &Error{Code: media.Unsupported, Err: err}
			continue
		}
		slot, ok := d.shared.take()
		if !ok {
			short = &Error{Drop: media.Overloaded, Err: fmt.Errorf("all %d payloads are in use", d.layout.Slots)}
			break
		}
		p.leases = append(p.leases, lease{index: i, input: in, slot: slot})
		request.Targets = append(request.Targets, ipc.Target{Input: in, Slot: uint16(slot)})
	}
	if len(p.leases) > 0 {
		s.pending = append(s.pending, p)
	}
	return short
}

// exchange sends a message and reads its answer into d.reply. After an error the process is not to be used again.
func (d *Decoder) exchange(proc *process, request *ipc.Request) error {
	d.message = request.Append(d.message[:0])
	answer, err := proc.ask(d.message, patience(d.cfg.Timeout, len(request.Ahead)))
	if err != nil {
		return err
	}
	if err := d.reply.Parse(answer); err != nil {
		return fmt.Errorf("the decoder's answer: %w", err)
	}
	if d.reply.Stream != request.Stream || d.reply.Tag != request.Tag || int(d.reply.Ahead) > len(request.Ahead) {
		return errors.New("the decoder's answer is to another question")
	}
	return nil
}

// collect makes pictures of the reply. A claim that cannot be true ends the process.
func (d *Decoder) collect(proc *process, s *stream, sent int, took time.Duration, short *Error) ([]Picture, error) {
	var pictures []Picture
	failure := short
	for _, p := range d.reply.Pictures {
		if int(p.Width)*int(p.Height) > d.cfg.MaxWidth*d.cfg.MaxHeight {
			failure = d.liar(proc, s, fmt.Errorf("it claims a picture of %d×%d pixels", p.Width, p.Height))
			return pictures, failure
		}
		entry, ok := s.claim(p.Tag)
		if !ok {
			failure = d.liar(proc, s, fmt.Errorf("it claims a picture that was not asked for"))
			return pictures, failure
		}
		if !d.possible(p, entry) {
			entry.giveBack(d.shared)
			failure = d.liar(proc, s, errors.New("it claims a payload of a size that cannot be"))
			return pictures, failure
		}
		s.width, s.height = swap(entry.orientation, p.Width, p.Height)
		for i, l := range entry.leases {
			if p.Done&(1<<i) == 0 {
				d.shared.put(l.slot)
				failure = &Error{Code: media.Unsupported, Err: fmt.Errorf("a picture of %d×%d pixels cannot be fitted to %d×%d", p.Width, p.Height, l.input.Width, l.input.Height)}
				continue
			}
			pictures = append(pictures, Picture{
				Tag: p.Tag, Target: l.index, Placement: media.Place(l.input, int(p.Width), int(p.Height)),
				Payload: d.shared.payload(l.slot, int(p.Sizes[i])), Release: d.shared.release[l.slot],
				Decode: min(d.reply.Decode, took), Convert: min(p.Convert, took),
			})
		}
	}
	if err := d.settle(s, sent); err != nil {
		return pictures, err
	}
	if failure != nil {
		return pictures, failure
	}
	return pictures, nil
}

// possible tells whether a picture's payloads can be as long as the process says.
func (d *Decoder) possible(p ipc.Picture, entry pending) bool {
	for i, l := range entry.leases {
		size, room := int64(p.Sizes[i]), int64(d.layout.Room(l.input))
		if p.Done&(1<<i) != 0 && (size < 1 || size > room || l.input.Encoding == media.Pixels && size < room) {
			return false
		}
	}
	return true
}

// liar ends a process whose answer cannot be true.
func (d *Decoder) liar(proc *process, s *stream, cause error) *Error {
	s.lose()
	d.crashed(proc, cause)
	return &Error{Code: media.DecoderError, NeedKey: s.needKey.Load(), Crashed: true, Err: cause}
}

// settle applies the reply's status to the stream; sent is the number of units ahead in the request.
func (d *Decoder) settle(s *stream, sent int) error {
	if d.reply.Status == ipc.OK {
		s.needKey.Store(false)
		s.expire(d.shared)
		return nil
	}
	s.abandon(d.shared)
	s.lose()
	e := failed(d.reply.Status)
	if int(d.reply.Ahead) < sent {
		e = behind(d.reply.Status)
	}
	e.NeedKey = s.needKey.Load()
	return e
}

// failed says what a status means, nil for OK.
func failed(status ipc.Status) *Error {
	switch status {
	case ipc.OK:
		return nil
	case ipc.Unsupported:
		return &Error{Code: media.Unsupported, Err: errors.New("a format or size that is not converted")}
	case ipc.NoMemory:
		return &Error{Drop: media.Overloaded, Err: errors.New("the decoder's memory limit is reached")}
	default:
		return &Error{Code: media.DecoderError, Err: errors.New("the bytes cannot be decoded")}
	}
}
