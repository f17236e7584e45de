// Package faults runs real brokers in this process on disks that fail: a sync that
// returns an error, one that never returns, one that takes long. A producer of
// pkg/client publishes meanwhile, and what it was told is compared with what is
// stored.
//
// The disks are in memory (pkg/commitlog/crashfs), so a test decides at which call
// what happens, and what a power cut after it leaves.
package faults
