//go:build race

package dispatch_test

// watermarks is the number of frames of TestWatermark. The race detector makes each of them ten times as dear; `make test` runs them all without it.
const watermarks = 100_000
