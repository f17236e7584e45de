package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/test/cluster"
)

func TestMain(m *testing.M) { cluster.Main(m) }

// input is a real file: Go's own sources, one after the other.
type input struct {
	path  string
	lines [][]byte
	bytes int
}

// realInput writes at least so many lines and bytes of Go's sources to a file,
// every line with its number in front if numbered is set.
func realInput(t *testing.T, lines, bytes int, numbered bool) input {
	t.Helper()
	in := input{path: filepath.Join(t.TempDir(), "input")}
	file, err := os.Create(in.path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	for _, source := range goSources(t) {
		if len(in.lines) >= lines && in.bytes >= bytes {
			break
		}
		in.take(t, source, numbered)
	}
	for _, line := range in.lines {
		_, _ = w.Write(append(line, '\n'))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("input: %d lines, %.1f MB", len(in.lines), float64(in.bytes)/1e6)
	return in
}

func (in *input) take(t *testing.T, source string, numbered bool) {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if numbered {
			line = fmt.Appendf(nil, "%d\t%s", len(in.lines), line)
		}
		in.lines = append(in.lines, line)
		in.bytes += len(line) + 1
	}
}

func goSources(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(out)), "src"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) == ".go" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// pause waits for a time that is itself what is tested, such as how long a
// process stays stopped.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
