package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// TestNameFences: a second producer of a name ends the first one, which says so.
func TestNameFences(t *testing.T) {
	s := startServer(t, map[string]int{"a": 1})
	older := s.start("a", "--name", "till 7", "-o", "text")
	if _, err := fmt.Fprintln(older.stdin, "one"); err != nil {
		t.Fatal(err)
	}
	older.await(1)
	if o := s.command("two\n", "a", "--name", "till 7"); o.exit != cli.ExitOK {
		t.Fatal(o)
	}
	if o := s.command("three\n", "a", "--name", "till 8"); o.exit != cli.ExitOK {
		t.Fatal(o)
	}
	if _, err := fmt.Fprintln(older.stdin, "four"); err != nil {
		t.Fatal(err)
	}
	o := older.wait()
	if o.exit != cli.ExitFailed && o.exit != cli.ExitPartial {
		t.Error(o)
	}
	if !strings.Contains(o.err, "PRODUCER_FENCED") || !strings.Contains(o.err, "epoch") {
		t.Error(o.err)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, texts(s.consume("a")[0])); diff != "" {
		t.Error(diff)
	}
}
