package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// programsEnv names a directory that holds the programs already; without it
// they are built when a test first needs them.
const programsEnv = "PROGRAMS"

// programs returns the directory of broker, producer and consumer.
var programs = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(programsEnv); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	dir, err := os.MkdirTemp("", "ledgermq-programs-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator), "./cmd/broker", "./cmd/producer", "./cmd/consumer")
	build.Dir = strings.TrimSpace(string(root))
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// Main runs the tests of a package, cleans up after them and ends the process.
func Main(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// builtIn is where programs has put what it built, if it had to.
var builtIn string

// Program prepares a command of one of the programs: broker, producer or
// consumer. It ends with ctx, and sees no LEDGERMQ_* variable of the test's own.
func Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	dir, err := programs()
	if err != nil {
		panic(err) // nothing that needs the programs can go on
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, name), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "LEDGERMQ_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}
