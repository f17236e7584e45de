package bench

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestMain is also that of the processes of the bare path. Everything that a run writes
// is below one temporary directory, which goes at the end and when the run is
// interrupted; the brokers go first then.
func TestMain(m *testing.M) {
	if role := os.Getenv(bareRole); role != "" {
		bareMain(role)
		return
	}
	dir, err := os.MkdirTemp("", "ledgermq-bench-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	var watching errgroup.Group
	watching.Go(func() error {
		<-interrupted
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		killChildren()
		_ = os.RemoveAll(dir)
		os.Exit(1)
		return nil
	})
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// killChildren ends the processes that this one has started.
func killChildren() {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text), ") ")
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
