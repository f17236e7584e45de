package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// openTerminal returns both ends of a pseudo terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

func TestOnATerminal(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	t.Setenv("TERM", "xterm")
	master, slave := openTerminal(t)
	stdin, keyboard := io.Pipe()
	var exit cli.ExitCode
	var running errgroup.Group
	running.Go(func() error {
		exit = run(t.Context(), []string{"t", "--server", s.Addr}, cli.Streams{In: stdin, Out: slave, Err: slave}, nil)
		_, err := fmt.Fprintln(slave, "THE END")
		return err
	})
	if _, err := keyboard.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	var screen strings.Builder
	read := func(until string) {
		buf := make([]byte, 4096)
		for !strings.Contains(screen.String(), until) {
			n, err := master.Read(buf)
			if err != nil {
				t.Fatalf("%v; read %q", err, screen.String())
			}
			screen.Write(buf[:n])
		}
	}
	read("1 sent  1 acked") // progress is shown when it takes a while
	if err := keyboard.Close(); err != nil {
		t.Fatal(err)
	}
	read("THE END")
	if err := running.Wait(); err != nil || exit != cli.ExitOK {
		t.Errorf("exit %d, %v", exit, err)
	}
	if !receiptOfFirst.MatchString(screen.String()) {
		t.Errorf("no receipt for the single message in %q", screen.String())
	}
}
