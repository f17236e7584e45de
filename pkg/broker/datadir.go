package broker

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Files of a data directory (docs/format/datadir.md).
const (
	identityFile = "IDENTITY"
	lockFile     = "LOCK"
	ledgerDir    = "ledger"
	stateDir     = "state"
	oldStateDir  = "state.old"
	freshFile    = "FRESH"
)

const identityVersion = "1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// identity says whose data directory this is. It is written once.
type identity struct {
	Cluster, Member string
	// Incarnation is new for each new directory: a member that lost its disk is
	// not the member that voted before.
	Incarnation string
}

// dataDir is a data directory that this process holds the lock of.
type dataDir struct {
	path string
	identity
	// fresh is set until the ledger has been opened for the first time: only then
	// may its ballot be missing.
	fresh bool
	lock  *os.File
}

// ErrDataDir is what every refusal of a data directory wraps.
var ErrDataDir = errors.New("data directory refused")

// dirError reads as its message and is an ErrDataDir.
type dirError struct {
	msg   string
	cause error
}

func (e *dirError) Error() string        { return e.msg }
func (e *dirError) Unwrap() error        { return e.cause }
func (e *dirError) Is(target error) bool { return target == ErrDataDir }

func dirErrorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &dirError{msg: err.Error(), cause: errors.Unwrap(err)}
}

// openDataDir locks dir for this process and makes sure that it belongs to
// this member; a directory that is new, or empty, is given to it.
func openDataDir(dir, cluster, member string) (*dataDir, error) {
	d, err := lockDataDir(dir, cluster, member)
	if err != nil {
		return nil, err
	}
	if err := d.claim(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// lockDataDir locks dir for this process and makes sure that it belongs to this
// member, or may be given to it: claim does that. Until then a start that fails leaves
// nothing that would keep another member out.
func lockDataDir(dir, cluster, member string) (*dataDir, error) {
	if err := makeDir(dir); err != nil {
		return nil, dirErrorf("data dir %s cannot be made: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	id, err := loadIdentity(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id, err = identity{Cluster: cluster, Member: member}, checkUnused(dir)
	case err == nil && (id.Cluster != cluster || id.Member != member):
		err = dirErrorf("data dir %s belongs to cluster %q node %s, but this is cluster %q node %s. Nothing was changed. "+
			"Start that node (cluster.id, node.id), or give this one a directory of its own (node.data)",
			dir, id.Cluster, id.Member, cluster, member)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &dataDir{path: dir, identity: id, lock: lock}, nil
}

// claim makes the directory this member's own, if it is not yet.
func (d *dataDir) claim() error {
	if d.Incarnation == "" {
		id, err := adoptDir(d.path, d.Cluster, d.Member)
		if err != nil {
			return err
		}
		d.identity = id
	}
	_, err := os.Stat(filepath.Join(d.path, freshFile))
	d.fresh = err == nil
	return nil
}

// openOldDataDir locks a directory that is this member's already.
func openOldDataDir(dir, cluster, member string) (*dataDir, error) {
	if _, err := loadIdentity(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, dirErrorf("data dir %s holds no %s file: it is nobody's. Nothing was changed: %w", dir, identityFile, err)
		}
		return nil, err
	}
	d, err := openDataDir(dir, cluster, member)
	if err == nil && d.fresh {
		err = dirErrorf("data dir %s is new: no broker has ever run there, so it holds nothing. Nothing was changed", dir)
		return nil, errors.Join(err, d.close())
	}
	return d, err
}

// makeDir makes dir and the parents that it lacks, durably: the ledger below is
// worth no more than the entry that leads to it.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	if info, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || parent == dir {
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return err
	}
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// settle notes that the ledger has been opened.
func (d *dataDir) settle() error {
	if !d.fresh {
		return nil
	}
	if err := os.Remove(filepath.Join(d.path, freshFile)); err != nil {
		return dirErrorf("data dir %s: %w", d.path, err)
	}
	d.fresh = false
	return syncDir(d.path)
}

func (d *dataDir) ledger() string { return filepath.Join(d.path, ledgerDir) }
func (d *dataDir) state() string  { return filepath.Join(d.path, stateDir) }

// oldState is where a state is that is being removed.
func (d *dataDir) oldState() string { return filepath.Join(d.path, oldStateDir) }

// dropState removes the state. It is renamed first: a removal that is cut short
// leaves something that no start takes for a state.
func (d *dataDir) dropState(remove func(path string) error) error {
	if err := os.Rename(d.state(), d.oldState()); err != nil {
		return err
	}
	if err := syncDir(d.path); err != nil {
		return err
	}
	return remove(d.oldState())
}

// close gives the lock back. The kernel does the same for a killed process.
func (d *dataDir) close() error { return d.lock.Close() }

// lockDir takes the lock of dir; its file names the process that holds it.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, dirErrorf("data dir %s: lock file: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(path)
		_ = f.Close()
		return nil, dirErrorf("data dir %s is in use by another broker (process %s): stop it, or give this one its own --data. Nothing was changed: %w",
			dir, strings.TrimSpace(string(holder)), err)
	}
	if err := noteHolder(f); err != nil {
		_ = f.Close()
		return nil, dirErrorf("data dir %s: lock file: the disk does not take a process id: look at it before anything else is written there: %w", dir, err)
	}
	return f, nil
}

// noteHolder writes this process's id into the lock file. For want of space it may stay
// empty: a broker starts on a full disk. A disk that fails is not written to any further.
func noteHolder(f interface {
	io.Writer
	Truncate(size int64) error
},
) error {
	err := f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}

// checkUnused says whether a directory without an identity may be given to a member.
// One that holds ledger or state without saying whose they are is left alone.
func checkUnused(dir string) error {
	for _, name := range []string{ledgerDir, stateDir} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return dirErrorf("data dir %s holds %q but no %s file that says whose it is: "+
				"restore the file, or use an empty directory. Nothing was changed.", dir, name, identityFile)
		}
	}
	return nil
}

// adoptDir makes an unused directory this member's own.
func adoptDir(dir, cluster, member string) (identity, error) {
	incarnation, err := uuid.NewRandom()
	if err != nil {
		return identity{}, dirErrorf("data dir %s: incarnation: %w", dir, err)
	}
	id := identity{Cluster: cluster, Member: member, Incarnation: incarnation.String()}
	err = writeDurably(dir, freshFile, nil)
	if err == nil {
		err = writeDurably(dir, identityFile, id.encode())
	}
	if err != nil {
		return identity{}, dirErrorf("data dir %s: identity: %w", dir, err)
	}
	return id, nil
}

// encode writes the identity as lines of "key value", the last one a CRC-32C
// over those before it.
func (id identity) encode() []byte {
	body := fmt.Sprintf("format %s\ncluster %s\nmember %s\nincarnation %s\n",
		identityVersion, id.Cluster, id.Member, id.Incarnation)
	return fmt.Appendf(nil, "%scrc32c %08x\n", body, crc32.Checksum([]byte(body), castagnoli))
}

func loadIdentity(dir string) (identity, error) {
	raw, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return identity{}, err
		}
		return identity{}, dirErrorf("data dir %s: identity: %w", dir, err)
	}
	id, err := decodeIdentity(raw)
	if err != nil {
		return identity{}, dirErrorf("data dir %s: %s is damaged (%w): restore it from a copy. Nothing was changed.", dir, identityFile, err)
	}
	return id, nil
}

func decodeIdentity(raw []byte) (identity, error) {
	var id identity
	var version string
	_, err := fmt.Sscanf(string(raw), "format %s\ncluster %s\nmember %s\nincarnation %s\n",
		&version, &id.Cluster, &id.Member, &id.Incarnation)
	if err != nil {
		return identity{}, fmt.Errorf("not an identity file: %w", err)
	}
	if version != identityVersion {
		return identity{}, fmt.Errorf("format %s, this broker reads %s", version, identityVersion)
	}
	if string(id.encode()) != string(raw) {
		return identity{}, errors.New("checksum mismatch")
	}
	return id, nil
}

// writeDurably puts a file in place so that a crash leaves the old one or the
// whole new one.
func writeDurably(dir, name string, content []byte) error {
	tmp := filepath.Join(dir, name+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
