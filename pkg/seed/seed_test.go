package seed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// source offers the same files again and again, as of a ledger that begins at 100.
type source struct {
	*Source
	t     *testing.T
	files map[string][]byte
	begin int64
	now   time.Time
}

func newSource(t *testing.T) *source {
	s := &source{t: t, begin: 100, now: time.Unix(1_700_000_000, 0)}
	random := rand.New(rand.NewPCG(1, 2))
	s.files = map[string][]byte{"empty": {}, "MANIFEST-1": []byte("small")}
	for i, size := range []int{MaxPiece - 1, MaxPiece, 3*MaxPiece + 17} {
		b := make([]byte, size)
		for n := range b {
			b[n] = byte(random.Uint32())
		}
		s.files[fmt.Sprintf("00000%d.sst", i)] = b
	}
	var err error
	s.Source, err = NewSource(SourceConfig{
		Dir: filepath.Join(t.TempDir(), "offers"), Begin: func() int64 { return s.begin }, Make: s.checkpoint,
		Idle: time.Minute, Limit: time.Hour, Now: func() time.Time { return s.now },
	})
	require.NoError(t, err)
	return s
}

func (s *source) checkpoint(dir string, begin int64) (Manifest, error) {
	require.NoError(s.t, os.Mkdir(dir, 0o700))
	for name, b := range s.files {
		require.NoError(s.t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	return Manifest{ClusterID: "c", Group: "g", Begin: begin, PrevTerm: 3, PrevChain: 7, Applied: begin + 50, AppliedTerm: 4, StateHash: 9}, nil
}

func (s *source) total() (n int64) {
	for _, b := range s.files {
		n += int64(len(b))
	}
	return n
}

// giver reads from a source as member n2 and can be told to fail.
type giver struct {
	s     *source
	bytes int64                              // that Read gave
	spoil func(at int64, piece []byte) error // called with what was given before
}

func (g *giver) Offer(ctx context.Context, resume string) ([]byte, error) {
	m, err := g.s.Offer(ctx, "n2", resume)
	if err != nil {
		return nil, err
	}
	return m.Encode(), nil
}

func (g *giver) Read(ctx context.Context, id, file string, offset int64, limit int) ([]byte, uint32, error) {
	piece, crc, err := g.s.Read(ctx, "n2", id, file, offset, limit)
	if err == nil && g.spoil != nil {
		err = g.spoil(g.bytes, piece)
	}
	if err == nil {
		g.bytes += int64(len(piece))
	}
	return piece, crc, err
}

func accept(*Manifest) error { return nil }

func config(t *testing.T) FetchConfig {
	return FetchConfig{Dir: filepath.Join(t.TempDir(), "seed"), Accept: accept, Progress: func(int64, int64) {}}
}

// requireWhole compares what is staged with what was offered.
func requireWhole(t *testing.T, dir string, s *source) {
	t.Helper()
	entries, err := os.ReadDir(Files(dir))
	require.NoError(t, err)
	require.Len(t, entries, len(s.files))
	for name, want := range s.files {
		got, err := os.ReadFile(filepath.Join(Files(dir), name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), name)
	}
}

func TestFetch(t *testing.T) {
	s, cfg := newSource(t), config(t)
	var have, total int64
	cfg.Progress = func(h, n int64) { have, total = h, n }
	m, err := Fetch(t.Context(), cfg, &giver{s: s})
	require.NoError(t, err)
	require.Equal(t, m, Staged(cfg.Dir))
	require.Equal(t, []int64{s.total(), s.total()}, []int64{have, total})
	requireWhole(t, cfg.Dir, s)

	again := &giver{s: s}
	_, err = Fetch(t.Context(), cfg, again)
	require.NoError(t, err)
	require.Zero(t, again.bytes, "all of it was here")
	requireWhole(t, cfg.Dir, s)
}

// TestFetchGoesOn cuts the connection after each number of pieces: together the
// tries read every byte once.
func TestFetchGoesOn(t *testing.T) {
	cut := errors.New("cut")
	for _, after := range []int64{0, 1, 4, 6} {
		s, cfg := newSource(t), config(t)
		g := &giver{s: s}
		calls := int64(0)
		g.spoil = func(int64, []byte) error {
			if calls++; calls == after+1 {
				return cut
			}
			return nil
		}
		_, err := Fetch(t.Context(), cfg, g)
		require.ErrorIs(t, err, cut)
		_, err = Fetch(t.Context(), cfg, g)
		require.NoError(t, err)
		require.Equal(t, s.total(), g.bytes, "cut after %d pieces", after)
		requireWhole(t, cfg.Dir, s)
	}
}

// TestDamagedPieceIsRefused flips a bit on the way.
func TestDamagedPieceIsRefused(t *testing.T) {
	s, cfg := newSource(t), config(t)
	g := &giver{s: s, spoil: func(at int64, piece []byte) error {
		if at > MaxPiece {
			piece[len(piece)/2] ^= 1
		}
		return nil
	}}
	_, err := Fetch(t.Context(), cfg, g)
	require.ErrorIs(t, err, ErrDamaged)
	g.spoil = nil
	_, err = Fetch(t.Context(), cfg, g)
	require.NoError(t, err)
	require.Equal(t, s.total()+MaxPiece, g.bytes, "only the damaged piece was read again")
	requireWhole(t, cfg.Dir, s)
}

// TestDamagedFileIsFetchedAgain spoils what is staged: a crash can leave a file
// with its length and without its bytes.
func TestDamagedFileIsFetchedAgain(t *testing.T) {
	s, cfg := newSource(t), config(t)
	_, err := Fetch(t.Context(), cfg, &giver{s: s})
	require.NoError(t, err)
	for name, want := range s.files {
		for _, spoiled := range [][]byte{bytes.Repeat([]byte{0}, len(want)), append(bytes.Clone(want), 1), bytes.Repeat([]byte{0}, len(want)/2)} {
			require.NoError(t, os.WriteFile(filepath.Join(Files(cfg.Dir), name), spoiled, 0o600))
			for try := 0; ; try++ {
				if _, err = Fetch(t.Context(), cfg, &giver{s: s}); err == nil {
					break
				}
				require.ErrorIs(t, err, ErrDamaged)
				require.Less(t, try, 2, name)
			}
			requireWhole(t, cfg.Dir, s)
		}
	}
}

// TestAnotherSeedBeginsAnew is what a change of the leader looks like.
func TestAnotherSeedBeginsAnew(t *testing.T) {
	old, cfg := newSource(t), config(t)
	cut := errors.New("cut")
	_, err := Fetch(t.Context(), cfg, &giver{s: old, spoil: func(at int64, _ []byte) error {
		if at > 2*MaxPiece {
			return cut
		}
		return nil
	}})
	require.ErrorIs(t, err, cut)

	fresh := newSource(t)
	fresh.files["000000.sst"][5]++
	fresh.files["another"] = []byte("file")
	delete(fresh.files, "000001.sst")
	g := &giver{s: fresh}
	m, err := Fetch(t.Context(), cfg, g)
	require.NoError(t, err)
	require.Equal(t, fresh.total(), g.bytes)
	require.Equal(t, m, Staged(cfg.Dir))
	requireWhole(t, cfg.Dir, fresh)

	useless := errors.New("useless")
	cfg.Accept = func(*Manifest) error { return useless }
	_, err = Fetch(t.Context(), cfg, &giver{s: newSource(t)})
	require.ErrorIs(t, err, useless)
	requireWhole(t, cfg.Dir, fresh)
}

func TestOffersHoldBackRetention(t *testing.T) {
	s := newSource(t)
	require.EqualValues(t, 90, s.Allow(90, false))
	m, err := s.Offer(t.Context(), "n2", "")
	require.NoError(t, err)
	require.EqualValues(t, 100, s.Allow(1000, false))
	s.begin = 500 // of a purge that was allowed before the offer and is carried out now
	same, err := s.Offer(t.Context(), "n2", m.ID())
	require.NoError(t, err)
	require.Same(t, m, same)

	s.now = s.now.Add(59 * time.Second)
	_, _, err = s.Read(t.Context(), "n2", m.ID(), "MANIFEST-1", 0, 10)
	require.NoError(t, err)
	s.now = s.now.Add(59 * time.Second)
	n, err := s.Expire()
	require.NoError(t, err)
	require.Zero(t, n, "it was read a moment ago")
	s.now = s.now.Add(2 * time.Second)
	n, err = s.Expire()
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, _, err = s.Read(t.Context(), "n2", m.ID(), "MANIFEST-1", 0, 10)
	require.ErrorIs(t, err, ErrUnknownSeed)
	require.EqualValues(t, 1000, s.Allow(1000, false))

	s.begin = 100 // what was allowed is not carried out yet
	m, err = s.Offer(t.Context(), "n2", m.ID())
	require.NoError(t, err)
	require.EqualValues(t, 1000, m.Begin, "nothing is promised that may be purged at any moment")
	for range 61 {
		s.now = s.now.Add(time.Minute)
		_, _, err = s.Read(t.Context(), "n2", m.ID(), "MANIFEST-1", 0, 10)
		require.NoError(t, err)
	}
	n, err = s.Expire()
	require.NoError(t, err)
	require.Equal(t, 1, n, "not for ever")
}

func TestReadsAreChecked(t *testing.T) {
	s := newSource(t)
	m, err := s.Offer(t.Context(), "n2", "")
	require.NoError(t, err)
	_, err = s.Offer(t.Context(), "n3", "")
	require.NoError(t, err)
	for _, r := range []struct {
		member, id, file string
		offset           int64
		limit            int
	}{
		{"n3", m.ID(), "MANIFEST-1", 1 << 40, 10},
		{"n4", m.ID(), "MANIFEST-1", 0, 10},
		{"n2", "", "MANIFEST-1", 0, 10},
		{"n2", m.ID(), "../MANIFEST-1", 0, 10},
		{"n2", m.ID(), "nothing", 0, 10},
		{"n2", m.ID(), "MANIFEST-1", -1, 10},
		{"n2", m.ID(), "MANIFEST-1", 5, 10},
		{"n2", m.ID(), "MANIFEST-1", 0, 0},
		{"n2", m.ID(), "empty", 0, 1},
	} {
		_, _, err := s.Read(t.Context(), r.member, r.id, r.file, r.offset, r.limit)
		require.ErrorIs(t, err, ErrUnknownSeed, "%+v", r)
	}
	piece, _, err := s.Read(t.Context(), "n2", m.ID(), "000002.sst", 0, 1<<30)
	require.NoError(t, err)
	require.Len(t, piece, MaxPiece)
}

func TestPacer(t *testing.T) {
	p := pacer{rate: 1000}
	now := time.Unix(1_700_000_000, 0)
	require.Zero(t, p.reserve(now, 500))
	require.Equal(t, 500*time.Millisecond, p.reserve(now, 1000))
	require.Equal(t, 1300*time.Millisecond, p.reserve(now.Add(200*time.Millisecond), 1))
	require.Zero(t, p.reserve(now.Add(time.Minute), 1), "what was not used is not saved up")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.reserve(time.Now(), 1_000_000)
	require.ErrorIs(t, p.wait(ctx, 1), context.Canceled)
	require.NoError(t, (&pacer{}).wait(ctx, 1<<30))
}
