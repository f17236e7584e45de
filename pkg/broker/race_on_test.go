//go:build race

package broker

// raceFactor is how much more memory things may take under the race detector.
const raceFactor = 2
