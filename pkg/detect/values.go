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
		return float64(half(binary.LittleEndian.Uint16(t.Data[2*i:])))
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

// half widens an IEEE 754 binary16, exactly.
func half(bits uint16) float32 {
	const (
		fractionBits, exponentOnes = 10, 0x1f
		widen, rebias              = 23 - fractionBits, 127 - 15
		least                      = 1.0 / (1 << 24) // of the numbers without an exponent
	)
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>fractionBits&exponentOnes), uint32(bits&(1<<fractionBits-1))
	switch exponent {
	case 0:
		return math.Float32frombits(math.Float32bits(float32(fraction)*least) | sign)
	case exponentOnes: // infinities and NaN
		return math.Float32frombits(sign | 0xff<<23 | fraction<<widen)
	default:
		return math.Float32frombits(sign | (exponent+rebias)<<23 | fraction<<widen)
	}
}

// reaching appends to places those of n elements, counted from the first, that are at least the given number, which is not negative. It is made for the many
// numbers of a detector, nearly all of which say that there is nothing. The tensor's bytes are known to be enough.
func reaching(places []int32, t media.RawTensor, first, n int, least float32) []int32 {
	i := 0
	if t.Datatype == media.FP32 {
		// Numbers that are not negative are in the order of their bits, so that eight of them are looked at as integers, two in a word: with its upper bit set,
		// each keeps that bit when the least is taken off exactly if it is not less. A negative number passes too, which the second look finds.
		const upper, size, at = 1<<63 | 1<<31, 4, 8 // bytes of a number; numbers at once
		bits := uint64(math.Float32bits(least))
		off := bits<<32 | bits
		data := t.Data[size*first:][:size*n]
		for ; i+at <= n; i += at {
			words := data[size*i : size*(i+at)]
			a, b := binary.LittleEndian.Uint64(words)|upper, binary.LittleEndian.Uint64(words[8:])|upper
			c, d := binary.LittleEndian.Uint64(words[16:])|upper, binary.LittleEndian.Uint64(words[24:])|upper
			if ((a-off)|(b-off)|(c-off)|(d-off))&upper == 0 {
				continue
			}
			for j := i; j < i+at; j++ {
				if math.Float32frombits(binary.LittleEndian.Uint32(data[size*j:])) >= least {
					places = append(places, int32(j))
				}
			}
		}
	}
	for ; i < n; i++ {
		if value(t, first+i) >= float64(least) {
			places = append(places, int32(i))
		}
	}
	return places
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
