//go:build race

package commitlog_test

// raceFactor is how much more memory things may take under the race detector, with
// which a sync.Pool forgets a quarter of what it is given.
const raceFactor = 20
