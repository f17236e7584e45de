package broker

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// startFilled starts one broker with some messages and stops it.
func startFilled(t *testing.T) (n *node, want []string) {
	t.Helper()
	n = startSingle(t, smallSegments)
	n.await("serving", func(v leaderView) bool { return v.serving != nil })
	queues := n.createTopic("t", 1)
	for i := range 20 {
		n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, message(i)))
		want = append(want, message(i))
	}
	n.shutdown()
	return n, want
}

// spoilState changes every table of a state.
func (n *node) spoilState(t *testing.T, spoil func(path string, data []byte) error) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.cfg.Node.Data, stateDir, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, spoil(path, data))
	}
}

// A state that is corrupt, missing in part or as a whole, or was marked by the
// process that found it so, is built anew from the ledger: the same.
func TestCorruptStateIsBuiltAnew(t *testing.T) {
	n, want := startFilled(t)
	dir := n.cfg.Node.Data
	for name, spoil := range map[string]func(){
		"flipped bits": func() {
			n.spoilState(t, func(path string, data []byte) error {
				for i := range data {
					data[i] ^= 0x55
				}
				return os.WriteFile(path, data, 0o600)
			})
		},
		"lost tables": func() { n.spoilState(t, func(path string, _ []byte) error { return os.Remove(path) }) },
		"gone":        func() { require.NoError(t, os.RemoveAll(filepath.Join(dir, stateDir))) },
		"marked":      func() { require.NoError(t, os.WriteFile(filepath.Join(dir, badStateFile), []byte("bad"), 0o600)) },
	} {
		t.Log(name)
		spoil()
		n.restart()
		n.await("serving", func(v leaderView) bool { return v.serving != nil })
		require.Equal(t, want, n.pullAll("t", 0), name)
		n.shutdown()
		require.NoFileExists(t, filepath.Join(dir, badStateFile))
		s, err := state.Open(state.Config{Dir: filepath.Join(dir, stateDir)})
		require.NoError(t, err)
		require.Greater(t, int64(s.Applied()), int64(20))
		require.NoError(t, s.Close())
	}
}

// Without the beginning of the ledger nothing is guessed, and nothing changed.
func TestCorruptStateWithoutItsLedgerIsRefused(t *testing.T) {
	n, _ := startFilled(t)
	log, err := commitlog.Open(commitlog.Config{
		Dir: filepath.Join(n.cfg.Node.Data, ledgerDir, "commitlog"), ClusterID: "ledgermq", Group: group, MemberID: "n1",
		SegmentBytes: int64(mebibyte),
	})
	require.NoError(t, err)
	require.NoError(t, log.PurgeBefore(15))
	require.Positive(t, int64(log.Begin()))
	require.NoError(t, log.Close())
	before := map[string]int64{}
	n.spoilState(t, func(path string, data []byte) error {
		before[path] = int64(len(data))
		data[len(data)/2] ^= 1
		data[len(data)-1] ^= 1
		return os.WriteFile(path, data, 0o600)
	})
	_, err = New(n.cfg)
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, "cannot be built from it")
	for path, size := range before {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, size, info.Size())
	}
}

// A fault of the state leaves a mark for the next start, any other none.
func TestFaultOfTheStateIsNoted(t *testing.T) {
	d := &dataDir{path: t.TempDir()}
	b := &Broker{dir: d, log: slog.New(slog.DiscardHandler)}
	b.noteFault(fmt.Errorf("dispatcher: %w", os.ErrPermission))
	require.NoError(t, d.badState())
	b.noteFault(fmt.Errorf("dispatcher: %w", &state.CorruptionError{Dir: "state", What: "a block"}))
	require.ErrorIs(t, d.badState(), state.ErrCorrupt)
	require.ErrorContains(t, d.badState(), "a block")
	require.NoError(t, d.clearBadState())
	require.NoError(t, d.clearBadState())
	require.NoError(t, d.badState())
}

func TestReplayIsToldOnceInAWhile(t *testing.T) {
	var lines syncBuffer
	r := replayLog{log: slog.New(slog.NewTextHandler(&lines, nil))}
	now := time.Now()
	r.note(0, 5, now)
	r.note(0, 50_000, now)
	r.note(10, 50_000, now.Add(time.Second))
	r.note(20, 50_000, now.Add(replayEvery))
	out, err := io.ReadAll(lines.reader())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(out), "being built"))
	require.Contains(t, string(out), "applied=20 of=50000")
}

// Damage that opening the state passes over shows when the first offsets are looked for:
// it is treated like any other, and does not end the broker at every start anew.
func TestDamageThatTheFirstOffsetsMeetIsRefused(t *testing.T) {
	n := startSingle(t, smallSegments)
	n.await("serving", func(v leaderView) bool { return v.serving != nil })
	queue := n.createTopic("t", 1)[0]
	n.publishBulk(queue, 0, 11) // segments that can go
	var many []byte
	for i := range 1000 {
		many = append(many, makeBatch(t, batch.Stamp{Queue: queue}, fmt.Sprint(i))...)
	}
	for range 30 { // the posting blocks fill several blocks of a table
		_, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: many})
		require.NoError(t, err)
	}
	n.shutdown()
	log, err := commitlog.Open(commitlog.Config{
		Dir: filepath.Join(n.cfg.Node.Data, ledgerDir, "commitlog"), ClusterID: "ledgermq", Group: group, MemberID: "n1",
		SegmentBytes: int64(mebibyte),
	})
	require.NoError(t, err)
	end, _ := log.End()
	require.NoError(t, log.PurgeBefore(end/2))
	require.Positive(t, int64(log.Begin()))
	require.NoError(t, log.Close())
	met := 0
	for eighth := range 8 {
		flip := func(path string, data []byte) error {
			data[len(data)*eighth/8+20] ^= 1
			return os.WriteFile(path, data, 0o600)
		}
		n.spoilState(t, flip)
		store, err := state.Open(state.Config{Dir: filepath.Join(n.cfg.Node.Data, stateDir)})
		if err == nil { // opening alone does not notice
			bad := store.Retain(state.Index(log.Begin()))
			store.Abandon()
			if bad != nil {
				met++
				_, err = New(n.cfg)
				require.ErrorIs(t, err, ErrDataDir)
				require.ErrorContains(t, err, "cannot be built from it")
			}
		}
		n.spoilState(t, flip) // back
	}
	require.Positive(t, met)
}
