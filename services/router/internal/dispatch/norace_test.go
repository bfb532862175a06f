//go:build !race

package dispatch_test

// watermarks is the number of frames of TestWatermark.
const watermarks = 1_000_000
