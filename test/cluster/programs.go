package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs is where Main has put broker, producer and consumer.
var programs string

// Main builds the programs, runs the tests of a package and ends the process.
func Main(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "ledgermq-programs-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return 0, fmt.Errorf("go list -m: %w", err)
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator), "./cmd/broker", "./cmd/producer", "./cmd/consumer")
	build.Dir = strings.TrimSpace(string(root))
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	programs = dir
	return m.Run(), nil
}

// Program prepares a command of one of the programs: broker, producer or
// consumer. It ends with ctx, and sees no LEDGERMQ_* variable of the test's own.
func Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(programs, name), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LEDGERMQ_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}
