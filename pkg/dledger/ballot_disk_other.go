//go:build !linux

package dledger

import "os"

// osBallotDisk is a ballot file on a real disk.
type osBallotDisk struct{ *os.File }

// Datasync implements BallotDisk.
func (d osBallotDisk) Datasync() error { return d.Sync() }
