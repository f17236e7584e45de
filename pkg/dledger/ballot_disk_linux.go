package dledger

import (
	"os"

	"golang.org/x/sys/unix"
)

// osBallotDisk is a ballot file on a real disk.
type osBallotDisk struct{ *os.File }

// Datasync implements BallotDisk. The file never changes its size, so that its
// data is all there is to sync.
func (d osBallotDisk) Datasync() error {
	for {
		err := unix.Fdatasync(int(d.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
