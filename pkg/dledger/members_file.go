package dledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// membersFileName is the file of the group beside the ballot.
const membersFileName = "members"

// maxMembersFile bounds what is read of it, in bytes.
const maxMembersFile = 8 << 20

// membersFile is the durable record of the group. It is used by one goroutine at
// a time. What record holds is on disk.
type membersFile struct {
	fs     commitlog.FS
	dir    string
	record membersRecord
	broken error // a write that failed; final
}

func (f *membersFile) path() string { return filepath.Join(f.dir, membersFileName) }

// readMembersFile reads the record of dir; fs.ErrNotExist: there is none. What was
// read is written again, so that it is on disk: the process before may have been
// killed between its rename and its sync of the directory.
func readMembersFile(files commitlog.FS, dir string, owner ballotOwner) (*membersFile, error) {
	f := &membersFile{fs: files, dir: dir}
	raw, err := readFile(files, f.path())
	if err != nil {
		return nil, err
	}
	if f.record, err = decodeMembersRecord(raw); err != nil {
		return nil, fmt.Errorf("%s: %w: this member cannot know which group it is in and must not start; restore the file, or remove the whole "+
			"data directory so that the member comes back as a new one", f.path(), err)
	}
	if f.record.owner != owner {
		o := f.record.owner
		return nil, fmt.Errorf("%s belongs to member %s of group %s in cluster %s, this is member %s of group %s in cluster %s: "+
			"use the data directory of this member, or an empty one", f.path(), o.id, o.group, o.clusterID, owner.id, owner.group, owner.clusterID)
	}
	return f, f.write(f.record)
}

func readFile(files commitlog.FS, path string) ([]byte, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err == nil && size > maxMembersFile {
		err = fmt.Errorf("%s has %d bytes", path, size)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	raw := make([]byte, size)
	_, err = file.ReadAt(raw, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return raw, errors.Join(err, file.Close())
}

// save makes a record durable. Any error is final: which of the two is on disk is
// not known.
func (f *membersFile) save(next membersRecord) error {
	if f.broken != nil {
		return fmt.Errorf("members file %s failed before: %w", f.path(), f.broken)
	}
	if err := f.write(next); err != nil {
		f.broken = err
		return err
	}
	f.record = next
	return nil
}

// write puts the record in place whole: a crash leaves the old one or the new one.
func (f *membersFile) write(r membersRecord) error {
	temp := f.path() + ".new"
	file, err := f.fs.Create(temp)
	if err != nil {
		return fmt.Errorf("write members file: %w", err)
	}
	err = file.WriteAt(0, r.encode())
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = f.fs.Rename(temp, f.path())
	}
	if err == nil {
		err = f.fs.SyncDir(f.dir)
	}
	if err != nil {
		return fmt.Errorf("write members file %s: %w", f.path(), err)
	}
	return nil
}

// saveChanges makes durable what the member has handed out.
func (f *membersFile) saveChanges(changes []member.Change, recoveries []Recovery) error {
	next := f.record
	next.changes = changes
	next.recoveries = mergeRecoveries(f.record.recoveries, recoveries)
	return f.save(next)
}

// mergeRecoveries are the records of both, in the order in which they were made.
// Nothing is ever forgotten.
func mergeRecoveries(known, more []Recovery) []Recovery {
	all := slices.Clone(known)
	for _, r := range more {
		if !slices.ContainsFunc(all, func(k Recovery) bool { return k.Generation == r.Generation }) {
			all = append(all, r)
		}
	}
	return all
}

// openMembers opens or makes the record of the group. configured is what the
// configuration says of it, which counts until the group has lived: from then on
// only the record does.
func openMembers(files commitlog.FS, cfg Config, ballot *ballotFile) (*membersFile, error) {
	lived := ballot.lived()
	first := membersRecord{owner: ballot.newest.owner, changes: []member.Change{{At: member.NoIndex, Members: cfg.members()}}}
	f, err := readMembersFile(files, cfg.Dir, first.owner)
	switch {
	case errors.Is(err, fs.ErrNotExist) && lived && ballot.newest.version >= ballotWithMembers:
		return nil, fmt.Errorf("%s is missing, but the ballot beside it is of term %d: this member cannot know which group it is in and must not start; "+
			"restore the file, or remove the whole data directory so that the member comes back as a new one",
			filepath.Join(cfg.Dir, membersFileName), ballot.load().Term)
	case errors.Is(err, fs.ErrNotExist):
		f = &membersFile{fs: files, dir: cfg.Dir}
		return f, f.save(first)
	case err != nil:
		return nil, err
	case !lived && f.record.generation == "":
		return f, f.save(first) // nobody has gone by what the file says
	}
	return f, nil
}
