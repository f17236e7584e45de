package commitlog_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// One appender, one syncer, one preparer, readers of the tail and of old
// entries, a purger: as the shell and the broker use the log.
func TestConcurrentUse(t *testing.T) {
	cfg := config(nil)
	cfg.Dir = t.TempDir()
	cfg.TailCacheBytes = 64 << 10
	cfg.SegmentBytes = 128 << 10
	cfg.Clock = nil
	l := mustOpen(t, cfg)
	const last = 3000
	g, ctx := errgroup.WithContext(t.Context())
	done, stop := context.WithCancel(ctx)
	g.Go(func() error { defer stop(); return syncUntil(done, l, last) })
	g.Go(func() error { return appendUntil(l, last) })
	g.Go(func() error { return prepareUntil(done, l) })
	for range 2 {
		g.Go(func() error { return readUntil(done, l, last) })
	}
	g.Go(func() error { return purgeUntil(done, l) })
	require.NoError(t, g.Wait())
	require.NoError(t, l.Close())
	_, err := l.Read(last, last, 1)
	require.ErrorIs(t, err, commitlog.ErrClosed)
}

func appendUntil(l *commitlog.Log, last Index) error {
	l.BecomeMaster(1)
	for i := Index(0); i <= last; i += 3 {
		err := l.AppendMaster(1, i, []commitlog.Body{body(int(i), 500), body(int(i)+1, 4), body(int(i)+2, 900)})
		if err != nil {
			return err
		}
	}
	return nil
}

func syncUntil(ctx context.Context, l *commitlog.Log, last Index) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Waiting():
		}
		p, err := l.Sync()
		if err != nil || p.Index >= last {
			return err
		}
	}
}

func prepareUntil(ctx context.Context, l *commitlog.Log) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.NeedSegment():
		}
		if err := l.PrepareSegment(); err != nil {
			return err
		}
	}
}

// readUntil reads from the beginning to the end, and begins again.
func readUntil(ctx context.Context, l *commitlog.Log, last Index) error {
	next := l.Begin()
	for ctx.Err() == nil {
		f, err := l.Read(next, max(next, last), 20_000)
		switch {
		case errors.Is(err, commitlog.ErrPurged):
			next = l.Begin()
			continue
		case errors.Is(err, commitlog.ErrBeyondEnd):
			next = max(l.Begin(), next/2)
			continue
		case err != nil:
			return err
		}
		s, err := commitlog.Verify(f.Bytes)
		if err != nil {
			return err
		}
		next = s.Last + 1
	}
	return nil
}

func purgeUntil(ctx context.Context, l *commitlog.Log) error {
	for ctx.Err() == nil {
		i, _ := l.Durable()
		if err := l.PurgeBefore(i - 500); err != nil {
			return err
		}
	}
	return nil
}

// A truncation waits for the Sync in flight, an append does not.
func TestTruncateWaitsForSync(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 3, 100)
	inSync, goOn := make(chan struct{}), make(chan struct{})
	holdSync(fs, inSync, goOn)
	var g errgroup.Group
	synced := make(chan error, 1)
	g.Go(func() error { _, err := l.Sync(); synced <- err; return err })
	awaitSync(t, inSync, synced)
	appendN(t, l, 1, 1, 100)
	f, err := l.Read(0, 3, 1<<20)
	require.NoError(t, err)
	require.Equal(t, Index(3), f.Last)
	i, _ := l.Durable()
	require.Equal(t, commitlog.NoIndex, i)

	l.BecomeSlave(1)
	cut := make(chan error, 1)
	g.Go(func() error { cut <- l.TruncateFrom(1); return nil })
	select {
	case <-cut:
		t.Fatal("truncated during a sync")
	default:
	}
	close(goOn)
	require.NoError(t, <-cut)
	require.NoError(t, g.Wait())
	require.Equal(t, commitlog.Persisted{Index: 0, Term: 1, Epoch: 1}, mustSync(t, l))
}

// Abandon during a sync: nothing is confirmed any more, and the next log on
// those files finds a legal state.
func TestAbandonDuringSync(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 3, 100)
	inSync, goOn := make(chan struct{}), make(chan struct{})
	holdSync(fs, inSync, goOn)
	var g errgroup.Group
	synced := make(chan error, 1)
	g.Go(func() error { _, err := l.Sync(); synced <- err; return nil })
	awaitSync(t, inSync, synced)
	g.Go(func() error { l.Abandon(); return nil })
	close(goOn)
	if err := <-synced; err != nil {
		require.ErrorIs(t, err, commitlog.ErrClosed)
	}
	require.NoError(t, g.Wait())
	_, err := l.Sync()
	require.ErrorIs(t, err, commitlog.ErrClosed)
	require.Error(t, l.PrepareSegment())
	l = mustOpen(t, config(fs))
	requireCount(t, l, 3)
}
