package detect

import (
	"encoding/binary"
	"math"

	"github.com/sluice-dev/sluice/pkg/media"
)

// value reads element i of a tensor whose bytes are known to be enough. 64-bit integers beyond 2^53 lose precision.
func value(t media.RawTensor, i int) float64 {
	switch t.Datatype {
	case media.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
	case media.FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
	case media.FP16:
		return half(binary.LittleEndian.Uint16(t.Data[2*i:]))
	case media.Int8:
		return float64(int8(t.Data[i]))
	case media.Uint8, media.Bool:
		return float64(t.Data[i])
	case media.Int16:
		return float64(int16(binary.LittleEndian.Uint16(t.Data[2*i:])))
	case media.Uint16:
		return float64(binary.LittleEndian.Uint16(t.Data[2*i:]))
	case media.Int32:
		return float64(int32(binary.LittleEndian.Uint32(t.Data[4*i:])))
	case media.Uint32:
		return float64(binary.LittleEndian.Uint32(t.Data[4*i:]))
	case media.Int64:
		return float64(int64(binary.LittleEndian.Uint64(t.Data[8*i:])))
	case media.Uint64:
		return float64(binary.LittleEndian.Uint64(t.Data[8*i:]))
	default:
		return math.NaN()
	}
}

// half widens an IEEE 754 binary16.
func half(bits uint16) float64 {
	const exponentBits, fractionBits, bias = 5, 10, 15
	exponent := int(bits >> fractionBits & (1<<exponentBits - 1))
	fraction := float64(bits & (1<<fractionBits - 1))
	var magnitude float64
	switch exponent {
	case 0:
		magnitude = math.Ldexp(fraction, 1-bias-fractionBits)
	case 1<<exponentBits - 1:
		if magnitude = math.Inf(1); fraction != 0 {
			return math.NaN()
		}
	default:
		magnitude = math.Ldexp(fraction+1<<fractionBits, exponent-bias-fractionBits)
	}
	if bits>>15 != 0 {
		return -magnitude
	}
	return magnitude
}

// floats tells whether a datatype is a floating-point one.
func floats(d media.Datatype) bool { return d == media.FP16 || d == media.FP32 || d == media.FP64 }

// elements gives the number of elements of a shape, -1 when it is not a size that a tensor in memory can have.
func elements(shape []int) int {
	n := 1
	for _, extent := range shape {
		if extent < 0 || extent > math.MaxInt32 || n > math.MaxInt32 {
			return -1
		}
		n *= extent
	}
	return n
}

// probability makes a score of any number: 0 to 1, and 0 for what is none.
func probability(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, 0), 1)
}
