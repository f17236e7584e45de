package dledger

import (
	"io"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// BallotDisk is the file under a ballot: the real one, or one that fails.
type BallotDisk interface {
	io.ReaderAt
	io.WriterAt
	// Datasync returns when everything written is durable.
	Datasync() error
	Close() error
}

// Ballot is the durable ballot of a member on a disk of the caller's: what a Server
// does with its file, for whoever runs members in another shell. It is used by one
// goroutine at a time.
type Ballot struct{ file *ballotFile }

// CreateBallot writes the ballot of a new member: term 0, no vote. Only when it has
// returned may the file get its name.
func CreateBallot(disk BallotDisk, clusterID, group string, id member.ID) error {
	return writeFirstBallot(disk, ballotOwner{clusterID: clusterID, group: group, id: id})
}

// OpenBallot reads a ballot and makes what it has read durable. It refuses one that
// is another member's, or lost.
func OpenBallot(disk BallotDisk, clusterID, group string, id member.ID) (*Ballot, error) {
	file, err := resumeBallot(disk, "ballot", ballotOwner{clusterID: clusterID, group: group, id: id})
	if err != nil {
		return nil, err
	}
	return &Ballot{file}, nil
}

// Load is the ballot, which is durable.
func (b *Ballot) Load() member.Ballot { return b.file.load() }

// Save makes a ballot durable. An error is final: what the disk then holds is not
// known, and the process must end.
func (b *Ballot) Save(ballot member.Ballot) error { return b.file.save(ballot) }
