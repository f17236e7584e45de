package seed

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	manifestName = "MANIFEST"
	filesName    = "state"
)

// ErrDamaged is a piece or a file that is not what its CRC says. What was wrong is
// not kept; another Fetch reads it again.
var ErrDamaged = errors.New("seed damaged on the way")

// Giver is the other side, as the network shows it.
type Giver interface {
	// Offer asks for a manifest; resume names the seed that is held in part.
	Offer(ctx context.Context, resume string) ([]byte, error)
	// Read asks for a piece of a file: at most limit bytes, at least one, and their
	// CRC-32C.
	Read(ctx context.Context, id, file string, offset int64, limit int) ([]byte, uint32, error)
}

// FetchConfig is what Fetch is told.
type FetchConfig struct {
	// Dir is where the seed is staged: a manifest, and the directory Files.
	Dir string
	// Accept is asked whether the seed is of any use here, before anything is read.
	Accept func(*Manifest) error
	// PieceBytes is how much is asked for at a time; 0 means MaxPiece.
	PieceBytes int
	// Progress is told how much of how much is here, after each piece.
	Progress func(have, total int64)
}

// Files is the directory of the files within a staged seed.
func Files(dir string) string { return filepath.Join(dir, filesName) }

// Staged is the manifest of the seed that is staged in dir, whole or in part; nil:
// none.
func Staged(dir string) *Manifest {
	raw, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return nil
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return nil // never whole, or damaged: begin anew
	}
	return m
}

// Fetch brings a seed to cfg.Dir and returns when all of it is there, verified and
// on disk. On an error what is there stays, for the next Fetch to go on from. It
// continues the seed that is there if the giver still offers it.
func Fetch(ctx context.Context, cfg FetchConfig, from Giver) (*Manifest, error) {
	if cfg.PieceBytes == 0 {
		cfg.PieceBytes = MaxPiece
	}
	resume := ""
	held := Staged(cfg.Dir)
	if held != nil {
		resume = held.ID()
	}
	raw, err := from.Offer(ctx, resume)
	if err != nil {
		return nil, fmt.Errorf("ask for a seed: %w", err)
	}
	m, err := DecodeManifest(raw)
	if err != nil {
		return nil, err
	}
	if err := cfg.Accept(m); err != nil {
		return nil, err
	}
	if m.ID() != resume {
		if err := stage(cfg.Dir, m); err != nil {
			return nil, fmt.Errorf("stage a seed: %w", err)
		}
	}
	f := &fetch{cfg: cfg, from: from, id: m.ID(), total: m.Bytes()}
	for _, file := range m.Files {
		if err := f.file(ctx, file); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", file.Name, err)
		}
	}
	if err := errors.Join(syncDir(Files(cfg.Dir)), syncDir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("stage a seed: %w", err)
	}
	return m, nil
}

// stage throws away what was there and begins with a manifest.
func stage(dir string, m *Manifest) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(Files(dir), 0o700); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, manifestName))
	if err != nil {
		return err
	}
	_, err = f.Write(m.Encode())
	err = errors.Join(err, f.Sync(), f.Close())
	return errors.Join(err, syncDir(dir), syncDir(filepath.Dir(dir)))
}

// fetch is the work of one Fetch.
type fetch struct {
	cfg         FetchConfig
	from        Giver
	id          string
	have, total int64
}

// file brings one file, going on where it ends.
func (f *fetch) file(ctx context.Context, want File) error {
	path := filepath.Join(Files(f.cfg.Dir), want.Name)
	have, err := f.verified(path, want)
	if err != nil {
		return err
	}
	f.note(have)
	// Also if it is whole: it may be in the page cache only, of a process that died.
	if err := f.rest(ctx, path, want, have); err != nil || have == want.Size && have > 0 {
		return err
	}
	_, err = f.verified(path, want)
	return err
}

// verified returns how much of a file is here. A whole file is read and checked; a
// wrong one is removed.
func (f *fetch) verified(path string, want File) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if info.Size() < want.Size {
		return info.Size(), nil
	}
	got, err := describeFile(Files(f.cfg.Dir), want.Name)
	if err != nil {
		return 0, err
	}
	if got != want {
		return 0, errors.Join(fmt.Errorf("%w: it has %d bytes with CRC %08x, offered were %d with %08x",
			ErrDamaged, got.Size, got.CRC, want.Size, want.CRC), os.Remove(path))
	}
	return want.Size, nil
}

// rest appends what is missing and brings the file to disk.
func (f *fetch) rest(ctx context.Context, path string, want File, have int64) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for err == nil && have < want.Size {
		var piece []byte
		if piece, err = f.piece(ctx, want, have); err == nil {
			_, err = out.Write(piece)
			have += int64(len(piece))
			f.note(int64(len(piece)))
		}
	}
	if syncErr := out.Sync(); syncErr != nil {
		// What is on disk is not known any more, and reading it back would not tell.
		return errors.Join(syncErr, out.Close(), os.Remove(path))
	}
	return errors.Join(err, out.Close())
}

// piece asks for the next piece and checks it.
func (f *fetch) piece(ctx context.Context, want File, offset int64) ([]byte, error) {
	piece, crc, err := f.from.Read(ctx, f.id, want.Name, offset, f.cfg.PieceBytes)
	if err != nil {
		return nil, err
	}
	if len(piece) == 0 || int64(len(piece)) > want.Size-offset {
		return nil, fmt.Errorf("%w: %d bytes at %d of %d", ErrDamaged, len(piece), offset, want.Size)
	}
	if got := crc32.Checksum(piece, castagnoli); got != crc {
		return nil, fmt.Errorf("%w: %d bytes at %d have CRC %08x, it says %08x", ErrDamaged, len(piece), offset, got, crc)
	}
	return piece, nil
}

func (f *fetch) note(n int64) {
	f.have += n
	f.cfg.Progress(f.have, f.total)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
