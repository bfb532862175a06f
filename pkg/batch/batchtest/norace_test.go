//go:build !race

package batchtest

// raced is true under the race detector, which makes simulations ten times slower.
const raced = false
