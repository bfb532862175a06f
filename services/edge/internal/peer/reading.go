package peer

import (
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
)

// captureTimeURI names the header extension that carries capture times.
const captureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

// rotationURI names the header extension that says how pictures are turned. Browsers that do not find it in the answer turn pictures upright
// before they encode them.
const rotationURI = "urn:3gpp:video-orientation"

// reading is how the packets of a track are read: by what was agreed on, which another offer may change. The read loop alone uses it.
type reading struct {
	receiver *webrtc.RTPReceiver
	formats  map[uint8]format // by payload type
	// captureTime is the id of the extension; 0 when it was not agreed on.
	captureTime uint8
	// rotation holds the id of that extension as the client offered it. The answer does not take it, so that senders turn pictures themselves;
	// but one that sends it all the same means it.
	rotation *atomic.Uint32
}

func newReading(receiver *webrtc.RTPReceiver, rotation *atomic.Uint32) *reading {
	r := &reading{receiver: receiver, rotation: rotation}
	r.learn()
	return r
}

// learn takes over what is agreed on now.
func (r *reading) learn() {
	agreed := r.receiver.GetParameters()
	r.formats, r.captureTime = make(map[uint8]format, len(agreed.Codecs)), 0
	for _, c := range agreed.Codecs {
		r.formats[uint8(c.PayloadType)] = formatOf(c)
	}
	for _, e := range agreed.HeaderExtensions {
		if e.URI == captureTimeURI {
			r.captureTime = uint8(e.ID) // RFC 8285: at most 255
		}
	}
}

// packet puts a packet with what its header means. A payload type that was not agreed on makes an unknown codec.
func (r *reading) packet(p *rtp.Packet, arrival time.Time) Packet {
	f, ok := r.formats[p.PayloadType]
	if !ok {
		r.learn()
		f = r.formats[p.PayloadType]
		r.formats[p.PayloadType] = f
	}
	packet := Packet{RTP: p, Codec: f.codec, ClockRate: f.clockRate, Channels: f.channels, Arrival: arrival}
	if r.captureTime != 0 {
		packet.Capture = captureTime(p.GetExtension(r.captureTime))
	}
	if id := r.rotation.Load(); id != 0 && p.Extension {
		packet.Rotation, packet.Oriented = rotation(p.GetExtension(uint8(id)))
	}
	return packet
}

// rotation reads the extension of 3GPP TS 26.114 section 7.4.5: in its lowest two bits the quarter turns clockwise that make the picture upright.
// Mirrored pictures (F) stay so.
func rotation(extension []byte) (degrees uint16, ok bool) {
	if len(extension) != 1 {
		return 0, false
	}
	return uint16(extension[0]&3) * 90, true
}

// captureTime reads the extension; 0 when there is none that makes sense. Where a server stands between the source and the sender of the
// packet the capture time is of the source's clock; what the sender estimates that clock to be ahead of its own is taken off.
func captureTime(extension []byte) uint64 {
	var e rtp.AbsCaptureTimeExtension
	if err := e.Unmarshal(extension); err != nil || e.Timestamp == 0 {
		return 0
	}
	if e.EstimatedCaptureClockOffset != nil {
		return e.Timestamp - uint64(*e.EstimatedCaptureClockOffset)
	}
	return e.Timestamp
}

// format is what a payload type means; see Packet.
type format struct {
	codec     media.Codec
	clockRate uint32
	channels  int
}

func formatOf(c webrtc.RTPCodecParameters) format {
	return format{codec: mediaCodec(c.MimeType), clockRate: c.ClockRate, channels: int(c.Channels)}
}
