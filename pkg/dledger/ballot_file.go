package dledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The ballot file: two slots, written in turn. docs/format/ballot.md draws it.
const (
	ballotFileName  = "ballot"
	ballotSlotBytes = 4096
	ballotMagic     = 0x544C4C42 // the bytes "BLLT"
	ballotVersion   = 3
	ballotCRCOffset = ballotSlotBytes - 4
	ballotFixed     = 40 // bytes before the four names

	ballotProven = 1 // flag

	// ballotWithMembers is the version from which on a members file stands beside the
	// ballot.
	ballotWithMembers = 3
)

// maxTermJump bounds how far a term may rise at once (2^32): a term near the end
// of its range, sent by mistake or malice, would end all elections.
const maxTermJump member.Term = 1 << 32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ballotOwner is whose ballot it is. A slot of another owner is an error.
type ballotOwner struct {
	clusterID, group string
	id               member.ID
}

// ballotSlot is what one slot says.
type ballotSlot struct {
	owner    ballotOwner
	sequence uint64
	ballot   member.Ballot
	version  uint16 // as read; 0: ballotVersion
}

// ballotFile is the durable ballot. It is used by one goroutine at a time.
type ballotFile struct {
	disk   BallotDisk
	path   string
	newest ballotSlot
	torn   error // why one of the slots does not count; nil: both do
	broken error // a write or sync that failed; final

	mirrored bool // the other slot holds the same ballot
}

// createBallot makes the ballot file of a new member: term 0, no vote. The file
// appears under its name only when it is whole.
func createBallot(dir string, owner ballotOwner) error {
	path := filepath.Join(dir, ballotFileName)
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create ballot file: %w", err)
	}
	err = writeFirstBallot(osBallotDisk{f}, owner)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("create ballot file %s: %w", path, err)
	}
	return nil
}

// writeFirstBallot writes both slots, so that a slot which cannot be read is
// always a damaged one and never one that was not written yet.
func writeFirstBallot(disk BallotDisk, owner ballotOwner) error {
	for sequence := uint64(0); sequence < 2; sequence++ {
		slot := encodeBallotSlot(ballotSlot{owner: owner, sequence: sequence})
		if _, err := disk.WriteAt(slot, slotOffset(sequence)); err != nil {
			return err
		}
	}
	return disk.Datasync()
}

// openBallot opens the ballot file in dir. What load then returns is durable.
func openBallot(dir string, owner ballotOwner) (*ballotFile, error) {
	path := filepath.Join(dir, ballotFileName)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open ballot file: %w", err)
	}
	b, err := resumeBallot(osBallotDisk{f}, path, owner)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return b, nil
}

// resumeBallot reads the ballot and makes what was read durable. It may have come
// from the page cache: of a process that was killed between its write and its
// sync, or whose sync failed and left the pages clean. The slot is written again
// in its own place, because a sync alone passes clean pages over, and in the other
// place a torn write would hit the only ballot that is surely on disk. Then the other
// slot is brought up to date.
func resumeBallot(disk BallotDisk, path string, owner ballotOwner) (*ballotFile, error) {
	b, err := loadBallot(disk, path, owner)
	if err != nil {
		return nil, err
	}
	if err := b.write(b.newest); err != nil {
		return nil, err
	}
	return b, b.mirror()
}

func loadBallot(disk BallotDisk, path string, owner ballotOwner) (*ballotFile, error) {
	var slots [2]ballotSlot
	var errs [2]error
	for i := range slots {
		slots[i], errs[i] = readBallotSlot(disk, uint64(i))
		if errs[i] == nil && slots[i].owner != owner {
			return nil, fmt.Errorf("ballot file %s belongs to member %s of group %s in cluster %s, this is member %s of group %s in cluster %s: "+
				"use the data directory of this member, or an empty one", path, slots[i].owner.id, slots[i].owner.group, slots[i].owner.clusterID,
				owner.id, owner.group, owner.clusterID)
		}
		if errs[i] != nil && !errors.Is(errs[i], errTornSlot) {
			return nil, fmt.Errorf("ballot file %s: slot %d: %w", path, i, errs[i])
		}
	}
	newest, torn := 0, errors.Join(errs[:]...)
	switch {
	case errs[0] != nil && errs[1] != nil:
		return nil, fmt.Errorf("ballot file %s: both slots are damaged (first: %w; second: %w): this member cannot know how it voted and "+
			"must not start; restore the file, or remove the whole data directory so that the member comes back as a new one", path, errs[0], errs[1])
	case errs[0] != nil, errs[1] == nil && slots[1].sequence > slots[0].sequence:
		newest = 1
	}
	mirrored := torn == nil && sameBallot(slots[0], slots[1])
	return &ballotFile{disk: disk, path: path, newest: slots[newest], torn: torn, mirrored: mirrored}, nil
}

// errTornSlot is a slot that a crash in the middle of its write may have left.
// Any other error (the disk does not give the bytes; they are whole, but of a
// newer program) says nothing about the age of what stands there.
var errTornSlot = errors.New("torn slot")

func readBallotSlot(disk BallotDisk, place uint64) (ballotSlot, error) {
	var raw [ballotSlotBytes]byte
	n, err := disk.ReadAt(raw[:], slotOffset(place))
	if err != nil && !errors.Is(err, io.EOF) {
		return ballotSlot{}, fmt.Errorf("read: %w", err)
	}
	if n < len(raw) {
		// Both slots were written whole before the file got its name: no crash cuts it.
		return ballotSlot{}, fmt.Errorf("it has %d bytes instead of %d: the file was cut off; restore it, or remove the whole data directory "+
			"so that the member comes back as a new one", n, len(raw))
	}
	slot, err := decodeBallotSlot(raw[:])
	if err == nil && slot.sequence%2 != place {
		err = fmt.Errorf("slot of sequence %d stands in the place of another", slot.sequence)
	}
	return slot, err
}

func slotOffset(sequence uint64) int64 { return int64(sequence%2) * ballotSlotBytes }

// load returns the newest durable ballot.
func (b *ballotFile) load() member.Ballot { return b.newest.ballot }

// save makes ballot durable. Any error is final: what the file then says is not
// known, so nothing may be saved or answered any more.
func (b *ballotFile) save(ballot member.Ballot) error {
	if b.broken != nil {
		return fmt.Errorf("ballot file %s failed before: %w", b.path, b.broken)
	}
	old := b.newest.ballot
	switch {
	case ballot.Term < old.Term,
		ballot.Term == old.Term && old.VotedFor != "" && ballot.VotedFor != old.VotedFor,
		old.Proven && !ballot.Proven:
		return fmt.Errorf("ballot file %s: refused to go from %+v to %+v: a ballot is never taken back", b.path, old, ballot)
	case ballot.Term-old.Term > maxTermJump:
		return fmt.Errorf("ballot file %s: refused to go from term %d to %d: too far at once", b.path, old.Term, ballot.Term)
	}
	next := ballotSlot{owner: b.newest.owner, sequence: b.newest.sequence + 1, ballot: ballot}
	if err := b.write(next); err != nil {
		return err
	}
	b.newest, b.mirrored = next, false
	return nil
}

// write makes a slot durable in its place.
func (b *ballotFile) write(slot ballotSlot) error {
	if _, err := b.disk.WriteAt(encodeBallotSlot(slot), slotOffset(slot.sequence)); err != nil {
		b.broken = err
		return fmt.Errorf("write ballot file %s: %w", b.path, err)
	}
	if err := b.disk.Datasync(); err != nil {
		b.broken = err
		return fmt.Errorf("sync ballot file %s: %w", b.path, err)
	}
	return nil
}

// upgrade writes the ballot in the format of this program: from then on the members
// file must be there.
func (b *ballotFile) upgrade() error {
	if b.newest.version == 0 || b.newest.version >= ballotWithMembers {
		return nil
	}
	return b.save(b.newest.ballot)
}

func (b *ballotFile) close() error { return b.disk.Close() }

func encodeBallotSlot(s ballotSlot) []byte {
	raw := make([]byte, ballotSlotBytes)
	le := binary.LittleEndian
	le.PutUint32(raw[0:], ballotMagic)
	version := cmp.Or(s.version, ballotVersion)
	le.PutUint16(raw[4:], version)
	le.PutUint64(raw[8:], s.sequence)
	le.PutUint64(raw[16:], uint64(s.ballot.Term))
	at := ballotFixed
	for i, name := range []string{s.owner.clusterID, s.owner.group, string(s.owner.id), string(s.ballot.VotedFor)} {
		le.PutUint16(raw[24+2*i:], uint16(len(name)))
		at += copy(raw[at:], name)
	}
	if s.ballot.Proven && version > 1 {
		le.PutUint32(raw[32:], ballotProven)
	}
	le.PutUint32(raw[ballotCRCOffset:], crc32.Checksum(raw[:ballotCRCOffset], castagnoli))
	return raw
}

func decodeBallotSlot(raw []byte) (ballotSlot, error) {
	le := binary.LittleEndian
	if len(raw) != ballotSlotBytes {
		return ballotSlot{}, fmt.Errorf("it has %d bytes instead of %d", len(raw), ballotSlotBytes)
	}
	if got, want := crc32.Checksum(raw[:ballotCRCOffset], castagnoli), le.Uint32(raw[ballotCRCOffset:]); got != want {
		return ballotSlot{}, fmt.Errorf("%w: its CRC is %08x, it says %08x", errTornSlot, got, want)
	}
	if magic := le.Uint32(raw); magic != ballotMagic {
		return ballotSlot{}, fmt.Errorf("magic is %08x", magic)
	}
	version := le.Uint16(raw[4:])
	if version < 1 || version > ballotVersion {
		return ballotSlot{}, fmt.Errorf("format version is %d, this program knows 1 to %d", version, ballotVersion)
	}
	var names [4]string
	at := ballotFixed
	for i := range names {
		n := int(le.Uint16(raw[24+2*i:]))
		if n > maxNameBytes {
			return ballotSlot{}, fmt.Errorf("name %d has %d bytes, allowed are %d", i, n, maxNameBytes)
		}
		names[i] = string(raw[at : at+n])
		at += n
	}
	s := ballotSlot{
		owner:    ballotOwner{clusterID: names[0], group: names[1], id: member.ID(names[2])},
		sequence: le.Uint64(raw[8:]),
		ballot:   member.Ballot{Term: member.Term(le.Uint64(raw[16:])), VotedFor: member.ID(names[3])},
		version:  version,
	}
	s.ballot.Proven = le.Uint32(raw[32:])&ballotProven != 0
	if version == 1 {
		// Nobody was unproven then. A member without a term has no entries either, and
		// is as good as new.
		s.ballot.Proven = s.ballot.Term > 0
	}
	if s.ballot.Term < 0 {
		return ballotSlot{}, fmt.Errorf("term %d is negative", s.ballot.Term)
	}
	return s, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
