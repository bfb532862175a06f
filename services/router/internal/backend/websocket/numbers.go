package websocket

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// nested reads a tensor from a valid JSON text: lists of lists as deep as the shape has axes, all those of an axis equally long. declared is the shape that the
// tensor should have; it only completes that of a tensor without elements, whose lists do not go as deep.
func nested(text []byte, datatype media.Datatype, declared []int) (media.RawTensor, error) {
	n := nesting{rest: text, datatype: datatype}
	if err := n.value(0); err != nil {
		return media.RawTensor{}, err
	}
	t := media.RawTensor{Datatype: datatype, Shape: n.shape, Data: n.data}
	for n.elements == 0 && len(t.Shape) > 0 && len(t.Shape) < len(declared) {
		t.Shape = append(t.Shape, max(declared[len(t.Shape)], 0))
	}
	return t, nil
}

// nesting is the state of reading nested lists.
type nesting struct {
	rest     []byte
	datatype media.Datatype
	shape    []int // as deep as lists were seen; an extent is negative until its first list ends
	elements int
	data     []byte
}

// peek skips white space and gives the next byte. A valid JSON text does not end here.
func (n *nesting) peek() byte {
	for i, c := range n.rest {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			n.rest = n.rest[i:]
			return c
		}
	}
	n.rest = nil
	return 0
}

func (n *nesting) value(axis int) error {
	if n.peek() == '[' {
		return n.list(axis)
	}
	if axis != len(n.shape) {
		return errDepths
	}
	n.elements++
	return n.element()
}

func (n *nesting) list(axis int) error {
	switch {
	case axis >= backend.MaxAxes:
		return fmt.Errorf("more than %d axes", backend.MaxAxes)
	case axis == len(n.shape) && n.elements > 0:
		return errDepths
	case axis == len(n.shape):
		n.shape = append(n.shape, -1)
	}
	n.rest = n.rest[1:]
	count := 0
	for n.peek() != ']' {
		if count > 0 {
			n.rest = n.rest[1:] // the comma
		}
		if len(n.rest) == 0 {
			return errors.New("the text ends within a list")
		}
		if err := n.value(axis + 1); err != nil {
			return err
		}
		count++
	}
	n.rest = n.rest[1:]
	if n.shape[axis] >= 0 && n.shape[axis] != count {
		return fmt.Errorf("lists of %d and of %d elements at the same depth", n.shape[axis], count)
	}
	n.shape[axis] = count
	return nil
}

// element reads one number, boolean or text.
func (n *nesting) element() error {
	if n.datatype == media.Bytes {
		return n.text()
	}
	end := 0
	for end < len(n.rest) && n.rest[end] != ',' && n.rest[end] != ']' && n.rest[end] > ' ' {
		end++
	}
	word := n.rest[:end]
	n.rest = n.rest[end:]
	var err error
	switch n.datatype {
	case media.Bool:
		n.data, err = boolean(n.data, word)
	case media.FP32, media.FP64:
		n.data, err = float(n.data, word, n.datatype)
	case media.Int8, media.Int16, media.Int32, media.Int64, media.Uint8, media.Uint16, media.Uint32, media.Uint64:
		n.data, err = integer(n.data, word, n.datatype)
	default:
		err = fmt.Errorf("%s cannot travel as JSON: answer in binary", n.datatype)
	}
	return err
}

func (n *nesting) text() error {
	if n.rest[0] != '"' {
		return errors.New("an element that is no text")
	}
	end := 1
	for end < len(n.rest) && n.rest[end] != '"' {
		if n.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(n.rest) {
		return errors.New("the text ends within an element")
	}
	var element string
	if err := json.Unmarshal(n.rest[:end+1], &element); err != nil {
		return errors.New("an element that is no text")
	}
	n.rest = n.rest[end+1:]
	n.data = appendText(n.data, []byte(element))
	return nil
}

// appendText adds an element to the data of a BYTES tensor.
func appendText(data, element []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(data, uint32(len(element))), element...)
}

func boolean(data, word []byte) ([]byte, error) {
	switch string(word) {
	case "true":
		return append(data, 1), nil
	case "false":
		return append(data, 0), nil
	default:
		return nil, errNotA(media.Bool, word)
	}
}

func float(data, word []byte, datatype media.Datatype) ([]byte, error) {
	v, err := strconv.ParseFloat(string(word), 8*datatype.Size())
	switch {
	case err != nil:
		return nil, errNotA(datatype, word)
	case datatype == media.FP32:
		return binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v))), nil
	default:
		return binary.LittleEndian.AppendUint64(data, math.Float64bits(v)), nil
	}
}

func integer(data, word []byte, datatype media.Datatype) ([]byte, error) {
	size := datatype.Size()
	var bits uint64
	var err error
	switch datatype {
	case media.Uint8, media.Uint16, media.Uint32, media.Uint64:
		bits, err = strconv.ParseUint(string(word), 10, 8*size)
	default:
		var v int64
		v, err = strconv.ParseInt(string(word), 10, 8*size)
		bits = uint64(v)
	}
	if err != nil {
		return nil, errNotA(datatype, word)
	}
	return append(data, binary.LittleEndian.AppendUint64(nil, bits)[:size]...), nil
}

var errDepths = errors.New("elements at several depths")

func errNotA(datatype media.Datatype, word []byte) error {
	return fmt.Errorf("%.32q is no %s", word, datatype)
}
