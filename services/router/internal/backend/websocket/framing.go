package websocket

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Subprotocol names the framing and its version.
const Subprotocol = "sluice.infer.v1"

const (
	// prefix is the length of a header's length.
	prefix = 4
	// alignment is what the place of a payload in its message is a multiple of, for whoever looks at it as numbers in place.
	alignment = 8
	// maxHeader bounds the header of an answer in bytes.
	maxHeader = 64 << 10
)

// tensorHeader describes a tensor in a header or a description.
type tensorHeader struct {
	Name  string         `json:"name"`
	Dtype media.Datatype `json:"dtype"`
	Shape []int64        `json:"shape"`
	// Size is the tensor's size in bytes. Answers may leave it out.
	Size *int `json:"size,omitempty"`
}

// request is the header of a batch.
type request struct {
	ID      uint64           `json:"id"`
	Model   string           `json:"model"`
	Timeout float64          `json:"timeout,omitempty"` // seconds
	Inputs  []tensorHeader   `json:"inputs"`
	Outputs []string         `json:"outputs"`
	Frames  []backend.Origin `json:"frames"`
}

// question is a text message: it asks what a model takes and gives.
type question struct {
	ID       uint64 `json:"id"`
	Describe string `json:"describe"`
}

// newRequest makes the header of a batch, all but its id and its timeout.
func newRequest(model string, batch backend.Request) request {
	r := request{Model: model, Frames: make([]backend.Origin, len(batch.Frames))}
	for _, input := range batch.Inputs {
		h := tensorHeader{Name: input.Name, Dtype: input.Datatype, Shape: make([]int64, len(input.Shape)), Size: new(len(input.Data))}
		for i, extent := range input.Shape {
			h.Shape[i] = int64(extent)
		}
		r.Inputs = append(r.Inputs, h)
	}
	for _, output := range batch.Outputs {
		r.Outputs = append(r.Outputs, output.Name)
	}
	for i, f := range batch.Frames {
		r.Frames[i] = backend.OriginOf(f)
	}
	return r
}

// encode writes the first part of a message: the header's length and the header.
func (r *request) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	length := (prefix+len(text)+alignment-1)/alignment*alignment - prefix
	head := make([]byte, prefix, prefix+length)
	binary.BigEndian.PutUint32(head, uint32(length))
	head = append(head, text...)
	for len(head) < prefix+length {
		head = append(head, ' ')
	}
	return head, nil
}

// answer is a message of a server, taken apart as far as it can be without knowing what was asked.
type answer struct {
	ID      uint64          `json:"id"`
	Error   *string         `json:"error"`
	Code    string          `json:"code"`
	Inputs  json.RawMessage `json:"inputs"`
	Outputs json.RawMessage `json:"outputs"`
	Results json.RawMessage `json:"results"`
	Compute json.RawMessage `json:"compute"`

	binary  bool
	payload []byte // of a binary message; it aliases the message
	// flaw says what is wrong with a message whose id can be read all the same; nil when nothing is.
	flaw error
}

// violation is a message that cannot be told to belong to any request. The connection ends with it.
type violation struct {
	status websocket.StatusCode
	reason string // at most 123 bytes, which the close frame takes
}

func (v *violation) Error() string { return v.reason }

// parse takes a message apart. The error is a *violation.
func parse(kind websocket.MessageType, message []byte) (*answer, error) {
	a := &answer{binary: kind == websocket.MessageBinary}
	text := message
	if a.binary {
		if len(message) < prefix {
			return nil, &violation{websocket.StatusProtocolError, "a binary message without the 4 bytes of its header's length"}
		}
		length := binary.BigEndian.Uint32(message)
		if length > maxHeader || int(length) > len(message)-prefix {
			return nil, &violation{websocket.StatusProtocolError, fmt.Sprintf("a header of %d bytes in a message of %d (length first, big endian)", length, len(message))}
		}
		text, a.payload = message[prefix:prefix+length], message[prefix+length:]
	}
	if !utf8.Valid(text) {
		return nil, &violation{websocket.StatusInvalidFramePayloadData, "JSON that is not UTF-8"}
	}
	var mistyped *json.UnmarshalTypeError
	switch err := json.Unmarshal(text, a); {
	case errors.As(err, &mistyped):
		a.flaw = fmt.Errorf("member %.32q cannot be %.32s", mistyped.Field, mistyped.Value)
	case err != nil:
		return nil, &violation{websocket.StatusProtocolError, "neither JSON text nor a binary message with a JSON header"}
	}
	if a.ID == 0 {
		return nil, &violation{websocket.StatusProtocolError, "an answer without the id of its request"}
	}
	return a, nil
}
