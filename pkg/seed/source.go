package seed

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// MaxPiece bounds one answer to a read, in bytes.
const MaxPiece = 1 << 20

// ErrUnknownSeed is a read of a seed, or a file, that is not kept here.
var ErrUnknownSeed = errors.New("unknown seed")

// SourceConfig says what a Source offers.
type SourceConfig struct {
	// Dir holds the checkpoints while they are offered. What an earlier process left
	// there is removed.
	Dir string
	// Begin is the first entry that the ledger has now.
	Begin func() int64
	// Make writes a checkpoint of the state to dir, which does not exist, and fills
	// in everything of a manifest but Files, for a ledger that begins at begin.
	Make func(dir string, begin int64) (Manifest, error)
	// MakeState does the same for a ledger that begins right behind the state: for a
	// member that has a ledger, and needs a state only.
	MakeState func(dir string) (Manifest, error)
	// Rate bounds what all readers get together, in bytes per second; 0: no bound.
	Rate int64
	// Idle is after how long without a read an offer is dropped, Limit after how long
	// in any case.
	Idle, Limit time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Source is the giving side.
type Source struct {
	cfg   SourceConfig
	pace  pacer
	token chan struct{} // capacity 1: belongs to whoever makes an offer

	mu struct {
		sync.Mutex
		offers map[string]*offer // by the member that reads it
		gone   int64             // all entries before may have been purged
		serial int
	}
}

// offer is one seed that one member may read.
type offer struct {
	dir         string
	begin       int64
	made, asked time.Time
	manifest    *Manifest // nil while it is being made
	id          string
}

// NewSource makes a source without offers.
func NewSource(cfg SourceConfig) (*Source, error) {
	if err := os.RemoveAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("remove what is left of earlier seeds: %w", err)
	}
	s := &Source{cfg: cfg, pace: pacer{rate: cfg.Rate}, token: make(chan struct{}, 1)}
	s.mu.offers = make(map[string]*offer)
	return s, nil
}

// Offer returns the seed that the member reads already, if its id is resume, or
// makes a new one, which replaces the member's old one.
func (s *Source) Offer(ctx context.Context, member, resume string) (*Manifest, error) {
	return s.offer(ctx, member, resume, func(o *offer) (Manifest, error) { return s.cfg.Make(o.dir, o.begin) })
}

// OfferState is Offer for a member that needs a state only.
func (s *Source) OfferState(ctx context.Context, member, resume string) (*Manifest, error) {
	return s.offer(ctx, member, resume, func(o *offer) (Manifest, error) { return s.cfg.MakeState(o.dir) })
}

func (s *Source) offer(ctx context.Context, member, resume string, fill func(*offer) (Manifest, error)) (*Manifest, error) {
	select {
	case s.token <- struct{}{}:
		defer func() { <-s.token }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if o := s.find(member, resume, false); o != nil {
		return o.manifest, nil
	}
	old, o := s.begin(member)
	err := old.remove()
	var m *Manifest
	if err == nil {
		m, err = s.make(ctx, o, fill)
	}
	if err != nil {
		s.drop(member, o)
		return nil, errors.Join(err, o.remove())
	}
	s.ready(o, m)
	return m, nil
}

// find returns the member's offer of that id. Only reading it is using it: a member
// that asks for its seed again and again and cannot take it must not hold it for ever.
func (s *Source) find(member, id string, reads bool) *offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.mu.offers[member]
	if o == nil || id == "" || o.id != id {
		return nil
	}
	if reads {
		o.asked = s.cfg.Now()
	}
	return o
}

// begin registers a new offer. From then on nothing of its ledger is purged.
func (s *Source) begin(member string) (old, fresh *offer) {
	begin := s.cfg.Begin()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.serial++
	now := s.cfg.Now()
	old = s.mu.offers[member]
	fresh = &offer{
		dir: filepath.Join(s.cfg.Dir, strconv.Itoa(s.mu.serial)), begin: max(begin, s.mu.gone), made: now, asked: now,
	}
	s.mu.offers[member] = fresh
	return old, fresh
}

func (s *Source) ready(o *offer, m *Manifest) {
	id := m.ID()
	s.mu.Lock()
	defer s.mu.Unlock()
	o.manifest, o.id, o.asked = m, id, s.cfg.Now()
}

func (s *Source) drop(member string, o *offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.offers[member] == o {
		delete(s.mu.offers, member)
	}
}

func (o *offer) remove() error {
	if o == nil {
		return nil
	}
	if err := os.RemoveAll(o.dir); err != nil {
		return fmt.Errorf("remove a seed: %w", err)
	}
	return nil
}

// make writes the checkpoint and lists its files.
func (s *Source) make(ctx context.Context, o *offer, fill func(*offer) (Manifest, error)) (*Manifest, error) {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a seed: %w", err)
	}
	m, err := fill(o)
	if err != nil {
		return nil, fmt.Errorf("make a seed: %w", err)
	}
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return nil, fmt.Errorf("make a seed: %w", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e.Name() == "LOCK" { // of whoever looked into the checkpoint
			continue
		}
		f, err := describeFile(o.dir, e.Name())
		if err != nil {
			return nil, fmt.Errorf("make a seed: %w", err)
		}
		m.Files = append(m.Files, f)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("make a seed: %w", err)
	}
	return &m, nil
}

// describeFile reads a file and returns its size and CRC.
func describeFile(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, err
	}
	hash := crc32.New(castagnoli)
	size, err := io.Copy(hash, f)
	return File{Name: name, Size: size, CRC: hash.Sum32()}, errors.Join(err, f.Close())
}

// Read reads a piece of a file of the member's seed, at most limit bytes and at
// most MaxPiece, and its CRC-32C. Errors: ErrUnknownSeed, an I/O error, ctx's.
func (s *Source) Read(ctx context.Context, member, id, name string, offset int64, limit int) ([]byte, uint32, error) {
	o := s.find(member, id, true)
	if o == nil {
		return nil, 0, fmt.Errorf("%w: %s is not offered to %s", ErrUnknownSeed, id, member)
	}
	file, ok := o.manifest.file(name)
	if !ok || offset < 0 || offset >= file.Size || limit < 1 {
		return nil, 0, fmt.Errorf("%w: %s has no %d bytes at %d of %.80q", ErrUnknownSeed, id, limit, offset, name)
	}
	piece := make([]byte, min(file.Size-offset, int64(limit), MaxPiece))
	if err := s.pace.wait(ctx, len(piece)); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(filepath.Join(o.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %s was dropped", ErrUnknownSeed, id)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read a seed: %w", err)
	}
	_, err = f.ReadAt(piece, offset)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, 0, fmt.Errorf("read a seed: %w", err)
	}
	return piece, crc32.Checksum(piece, castagnoli), nil
}

// Allow is asked by whoever purges the ledger: it wants to purge what is before
// an entry, and may purge what is before the one that is returned. When it is
// pressed for space no offer holds it back: a member whose seed then ends below the
// ledger's begin is offered another one.
func (s *Source) Allow(before int64, pressed bool) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !pressed {
		for _, o := range s.mu.offers {
			before = min(before, o.begin)
		}
	}
	s.mu.gone = max(s.mu.gone, before)
	return before
}

// Expire drops the offers that nobody reads any more, or that have been there for
// too long, and returns how many it dropped.
func (s *Source) Expire() (int, error) {
	var errs []error
	stale := s.takeStale()
	for _, o := range stale {
		errs = append(errs, o.remove())
	}
	return len(stale), errors.Join(errs...)
}

func (s *Source) takeStale() (stale []*offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for member, o := range s.mu.offers {
		if o.manifest != nil && (now.Sub(o.asked) > s.cfg.Idle || now.Sub(o.made) > s.cfg.Limit) {
			delete(s.mu.offers, member)
			stale = append(stale, o)
		}
	}
	return stale
}
