package broker

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestDataDirIsGivenToItsMember(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d, err := openDataDir(dir, "prod-a", "n1")
	require.NoError(t, err)
	require.True(t, d.fresh)
	require.Len(t, d.Incarnation, 36)
	require.NoError(t, d.close())

	again, err := openDataDir(dir, "prod-a", "n1")
	require.NoError(t, err)
	require.True(t, again.fresh, "the ledger was never opened")
	require.Equal(t, d.identity, again.identity)
	require.NoError(t, again.settle())
	require.NoError(t, again.close())

	settled, err := openDataDir(dir, "prod-a", "n1")
	require.NoError(t, err)
	require.False(t, settled.fresh)
	require.NoError(t, settled.close())
}

func TestDataDirOfAnotherIsRefused(t *testing.T) {
	dir := t.TempDir()
	d, err := openDataDir(dir, "prod-a", "n2")
	require.NoError(t, err)
	require.NoError(t, d.close())

	const advice = "Start that node (cluster.id, node.id), or give this one a directory of its own (node.data)"
	_, err = openDataDir(dir, "prod-a", "n1")
	require.ErrorIs(t, err, ErrDataDir)
	require.EqualError(t, err, "data dir "+dir+` belongs to cluster "prod-a" node n2, but this is cluster "prod-a" node n1. Nothing was changed. `+advice)
	_, err = openDataDir(dir, "prod-b", "n2")
	require.EqualError(t, err, "data dir "+dir+` belongs to cluster "prod-a" node n2, but this is cluster "prod-b" node n2. Nothing was changed. `+advice)
}

// A start that fails for what the operator can mend leaves the directory to whoever comes.
func TestFailedStartClaimsNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	busy := testConfig(t, "n1")
	busy.Listen.HTTP = taken.Addr().String()
	_, err = New(busy)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	blind := busy
	blind.TLS.Client = ListenerTLS{Cert: "nowhere", Key: "nowhere"}
	_, err = New(blind)
	require.ErrorIs(t, err, ErrConfig)
	left, err := os.ReadDir(busy.Node.Data)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, lockFile, left[0].Name())

	other := testConfig(t, "n2")
	other.Node.Data = busy.Node.Data
	b, err := New(other)
	require.NoError(t, err)
	b.abandon()
}

func TestNewDataDirHoldsNothingToRecover(t *testing.T) {
	dir := t.TempDir()
	d, err := openDataDir(dir, "c", "n1")
	require.NoError(t, err)
	require.NoError(t, d.close())
	_, err = openOldDataDir(dir, "c", "n1")
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, "data dir "+dir+" is new: no broker has ever run there")
	again, err := openDataDir(dir, "c", "n1")
	require.NoError(t, err)
	require.True(t, again.fresh, "a new directory stays new")
	require.NoError(t, again.close())
}

func TestDataDirIsLocked(t *testing.T) {
	dir := t.TempDir()
	d, err := openDataDir(dir, "c", "n1")
	require.NoError(t, err)
	defer func() { require.NoError(t, d.close()) }()

	_, err = openDataDir(dir, "c", "n1")
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, "data dir "+dir+" is in use by another broker (process ")
}

func TestDamagedIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	d, err := openDataDir(dir, "c", "n1")
	require.NoError(t, err)
	require.NoError(t, d.close())
	path := filepath.Join(dir, identityFile)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)

	for name, damaged := range map[string]string{
		"changed":   strings.Replace(string(raw), "member n1", "member n9", 1),
		"cut":       string(raw[:len(raw)/2]),
		"empty":     "",
		"appended":  string(raw) + "x",
		"version 2": strings.Replace(string(raw), "format 1", "format 2", 1),
	} {
		require.NoError(t, os.WriteFile(path, []byte(damaged), 0o600))
		_, err = openDataDir(dir, "c", "n1")
		require.ErrorIs(t, err, ErrDataDir, name)
		require.ErrorContains(t, err, "IDENTITY is damaged", name)
	}
}

func TestLedgerWithoutIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ledgerDir), 0o750))
	_, err := openDataDir(dir, "c", "n1")
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, "no IDENTITY file that says whose it is")
}

func FuzzDecodeIdentity(f *testing.F) {
	f.Add(identity{"c", "n1", "0f0e"}.encode())
	f.Add([]byte("format 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, err := decodeIdentity(raw)
		if err == nil {
			require.Equal(t, raw, id.encode())
		}
	})
}

// badFile is a file whose writes fail.
type badFile struct{ err error }

func (f badFile) Truncate(int64) error      { return nil }
func (f badFile) Write([]byte) (int, error) { return 0, f.err }

// A disk that fails at the very first write is left alone; one that is full is not.
func TestLockFileThatCannotBeWritten(t *testing.T) {
	require.ErrorIs(t, noteHolder(badFile{unix.EIO}), unix.EIO)
	require.NoError(t, noteHolder(badFile{unix.ENOSPC}))
	require.NoError(t, noteHolder(badFile{unix.EDQUOT}))
}
