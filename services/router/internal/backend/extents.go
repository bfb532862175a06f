package backend

import (
	"fmt"
	"math"
)

// MaxAxes is the largest rank of a tensor that a model server may tell of.
const MaxAxes = 8

// Extents takes a shape from a model server: few axes, no extent below the least, and each of a size that memory can hold. The error shows what is wrong with it; it is
// for the log.
func Extents(shape []int64, least int64) ([]int, error) {
	if len(shape) > MaxAxes {
		return nil, fmt.Errorf("%d axes", len(shape))
	}
	list := make([]int, len(shape))
	for i, extent := range shape {
		if extent < least || extent > math.MaxInt32 {
			return nil, fmt.Errorf("shape %v", shape)
		}
		list[i] = int(extent)
	}
	return list, nil
}
