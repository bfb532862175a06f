package media

import "time"

// Clock names the source of a capture time.
type Clock uint8

// The sources, worst first.
const (
	ClockUnknown Clock = iota
	ClockArrival
	ClockSenderReport
	ClockAbsCapture
)

var clockNames = [...]string{"", "ARRIVAL", "SENDER_REPORT", "ABS_CAPTURE"}

// String gives the contract's word for the clock, empty for ClockUnknown.
func (c Clock) String() string {
	if int(c) < len(clockNames) {
		return clockNames[c]
	}
	return ""
}

// DropReason says why a unit was given up before it cost model time. The zero value means that it was not.
type DropReason uint8

// The reasons: a closed set, the wire's numbers.
const (
	NotDropped DropReason = iota
	Superseded
	Expired
	Overloaded
	Damaged
	RateLimited
	TooLarge
	NoRouter
	Draining
)

var dropNames = [...]string{"", "SUPERSEDED", "EXPIRED", "OVERLOADED", "DAMAGED", "RATE_LIMITED", "TOO_LARGE", "NO_ROUTER", "DRAINING"}

// String gives the contract's word for the reason, empty for NotDropped.
func (r DropReason) String() string {
	if int(r) < len(dropNames) {
		return dropNames[r]
	}
	return ""
}

// DropReasons gives every reason, in the wire's order.
func DropReasons() []DropReason {
	return []DropReason{Superseded, Expired, Overloaded, Damaged, RateLimited, TooLarge, NoRouter, Draining}
}

// ErrorCode says which part failed. The zero value means that none did.
type ErrorCode uint8

// The codes: a closed set, the wire's numbers.
const (
	NoError ErrorCode = iota
	BackendUnavailable
	BackendTimeout
	BackendProtocol
	BackendRejected
	DecoderError
	RouterLost
	Unsupported
	Internal
)

var errorNames = [...]string{
	"", "BACKEND_UNAVAILABLE", "BACKEND_TIMEOUT", "BACKEND_PROTOCOL", "BACKEND_REJECTED", "DECODER", "ROUTER_LOST", "UNSUPPORTED", "INTERNAL",
}

// String gives the contract's word for the code, empty for NoError.
func (c ErrorCode) String() string {
	if int(c) < len(errorNames) {
		return errorNames[c]
	}
	return ""
}

// ErrorCodes gives every code, in the wire's order.
func ErrorCodes() []ErrorCode {
	return []ErrorCode{BackendUnavailable, BackendTimeout, BackendProtocol, BackendRejected, DecoderError, RouterLost, Unsupported, Internal}
}

// Outcome says what became of one unit for one model. Exactly one of Result, Drop and Error is set.
type Outcome struct {
	Session   string
	Stream    string
	Sequence  uint32
	RTP       RTP
	Captured  time.Time // zero when not known
	Clock     Clock
	Model     string
	BatchSize int // 0 when the unit reached no batch
	Result    *Result
	Drop      DropReason
	Error     ErrorCode
	Timings   Timings
}

// Timings are the times spent in the stages; a negative or zero value means that the unit did not reach the stage.
type Timings struct {
	Receive, Decode, Convert, Queue, Infer, Total time.Duration
}

// Result is a model's answer for one frame. It is immutable once handed on.
type Result struct {
	Detections []Detection
	Classes    []Classification
	Speech     []Speech
	Embedding  []float32
	Tensors    []Tensor
	JSON       []string
}

// Detection is one object in a picture.
type Detection struct {
	Label     string
	Score     float64 // 0 to 1
	Box       Box
	Landmarks []Point
}

// Box is a rectangle in fractions of the upright source picture, inside it.
type Box struct{ X, Y, Width, Height float64 }

// Point is a position in fractions of the upright source picture.
type Point struct{ X, Y float64 }

// Classification is one class of a whole frame.
type Classification struct {
	Label string
	Score float64 // 0 to 1
}

// Speech is the voice activity of one window of sound.
type Speech struct {
	Probability float64 // that the window holds speech, 0 to 1
}

// Tensor is one output of a model for one frame, the batch axis removed, row-major.
type Tensor struct {
	Name     string
	Datatype string // Open Inference Protocol's word: FP32, INT64, …
	Shape    []int
	Values   []float64
}

// Demand is what the models can use of a stream. Zero means no limit.
type Demand struct {
	Stream string
	// Model names the model whose demand it is; empty means all models of the stream.
	Model               string
	MaxFramerate        float64
	MaxWidth, MaxHeight int
}

// SenderReport is an RTCP sender report (RFC 3550 section 6.4.1).
type SenderReport struct {
	SSRC         uint32
	RTPTimestamp uint32
	NTP          uint64 // seconds since 1900 in the upper 32 bits, fraction in the lower
}

// UnixMillis gives the report's NTP time as milliseconds since 1970, with fraction. Only era 0 (until 2036) is known.
func (s SenderReport) UnixMillis() float64 {
	const ntpToUnix = 2208988800
	seconds := float64(s.NTP>>32) - ntpToUnix
	return seconds*1000 + float64(s.NTP&0xffffffff)*1000/(1<<32)
}

// ModelCounts are the counts of one (stream, model): Accepted = Results + drops + errors + InFlight.
type ModelCounts struct {
	Model      string
	NotSampled uint32
	Accepted   uint32
	Results    uint32
	Drops      [Draining + 1]uint32 // by DropReason
	Errors     [Internal + 1]uint32 // by ErrorCode
	InFlight   uint32
	Late       uint32
}

// StreamCounts are the counts of one stream: Received = NotDue + Accepted.
type StreamCounts struct {
	Stream                     string
	Received, NotDue, Accepted uint32
	Models                     []ModelCounts
}

// StreamActivity tells how busy a stream is. Rates are a second's share of the last ten seconds, or of all of a younger stream's life.
type StreamActivity struct {
	Stream string
	// Units that arrived a second.
	Units float64
	// Newest is when the newest of them arrived, zero for never.
	Newest time.Time
	Models []ModelActivity // by name, those that had an outcome
}

// ModelActivity tells what a stream gets of a model.
type ModelActivity struct {
	Model string
	// Outcomes a second, by kind.
	Results, Drops, Errors float64
	// Newest is when the newest result was there, zero for never.
	Newest time.Time
	// P50 and P95 are quantiles of how long the newest 128 results took, zero for none.
	P50, P95 time.Duration
}
