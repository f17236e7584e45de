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
	older := s.Start("a", "--name", "till 7", "-o", "text")
	if _, err := fmt.Fprintln(older.Stdin, "one"); err != nil {
		t.Fatal(err)
	}
	older.Await(1)
	if o := s.Command("two\n", "a", "--name", "till 7"); o.Exit != cli.ExitOK {
		t.Fatal(o)
	}
	if o := s.Command("three\n", "a", "--name", "till 8"); o.Exit != cli.ExitOK {
		t.Fatal(o)
	}
	if _, err := fmt.Fprintln(older.Stdin, "four"); err != nil {
		t.Fatal(err)
	}
	o := older.Wait()
	if o.Exit != cli.ExitFailed && o.Exit != cli.ExitPartial {
		t.Error(o)
	}
	if !strings.Contains(o.Err, "PRODUCER_FENCED") || !strings.Contains(o.Err, "epoch") {
		t.Error(o.Err)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, texts(s.consume("a")[0])); diff != "" {
		t.Error(diff)
	}
}
