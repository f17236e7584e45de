package tidy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ledgermq/ledgermq"

// A room is a package (or with /... a tree of them) and what may enter it.
type room struct {
	path string
	// ours are the project's packages that it may import, besides its own tree.
	ours []string
	// std, if not nil, are the only packages of the standard library it may import.
	std []string
	// never are import paths that it must not reach even through others.
	never []string
	// tests: only tests import it, and it may import testing.
	tests bool
	why   string
}

const (
	grpc   = "google.golang.org/grpc"
	pebble = "github.com/cockroachdb/pebble"
	prom   = "github.com/prometheus"
	protob = "google.golang.org/protobuf"
)

// rooms is the house (docs/ARCHITECTURE.md): an import goes down, never up, and
// sideways only where it stands here.
var rooms = []room{
	{
		path: "proto/...",
		why:  "floor 0: generated from what crosses a process boundary",
	},
	{
		path:  "pkg/dledger/member",
		std:   []string{"bytes", "cmp", "errors", "fmt", "maps", "math", "math/bits", "math/rand/v2", "slices", "sort", "strconv", "strings", "time"},
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: the algorithm is a pure function of time, messages and disk results",
	},
	{
		path:  "pkg/commitlog",
		never: []string{grpc, pebble},
		why:   "floor 1: knows (index, term, body) and nothing of votes; its seam for faults is its own file system interface",
	},
	{
		path:  "pkg/commitlog/crashfs",
		ours:  []string{"pkg/commitlog"},
		never: []string{grpc, pebble},
		tests: true,
		why:   "floor 1, for tests: a file system that crashes; only tests import it",
	},
	{
		path:  "pkg/batch",
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: the format that client and broker share; users import it with the client",
	},
	{
		path:  "pkg/group",
		std:   []string{"cmp", "maps", "slices", "time"},
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: who of a consumer group reads which queue, a pure function of what happened and when",
	},
	{
		path:  "pkg/lease",
		std:   []string{"container/heap", "math", "time"},
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: which message a work-queue group is given next, a pure function of what happened and when",
	},
	{
		path:  "pkg/filter",
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: the language of filters; the broker shows it messages, it knows nothing of batches",
	},
	{
		path:  "pkg/buffer",
		never: []string{pebble, prom, protob},
		why:   "floor 1: memory for bytes on their way; it knows nothing of what they are",
	},
	{
		path:  "pkg/passthrough",
		never: []string{pebble, prom},
		why:   "floor 1: where the batches of a protobuf message lie; it knows nothing of them, nor of any message",
	},
	{
		path:  "pkg/history",
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: what clients saw, and its judge; it must share nothing with what it judges",
	},
	{
		path:  "pkg/dledger",
		ours:  []string{"pkg/dledger/member", "pkg/commitlog", "pkg/buffer", "pkg/passthrough", "proto/dledger/v1"},
		never: []string{pebble},
		why:   "floor 2: the shell around one member; it never looks into a body",
	},
	{
		path:  "pkg/state",
		ours:  []string{"pkg/batch", "proto/record/v1"},
		never: []string{grpc},
		why:   "floor 2: what applying the ledger yields; the dispatcher brings it the entries",
	},
	{
		path:  "pkg/rolechange",
		ours:  []string{"pkg/dledger/member"},
		never: []string{grpc, pebble},
		why:   "floor 2: role changes, one at a time",
	},
	{
		path:  "pkg/seed",
		never: []string{grpc, pebble, prom, protob},
		why:   "floor 1: moves files that it does not look into; the broker brings it the network",
	},
	{
		path: "pkg/broker",
		ours: []string{
			"pkg/seed", "pkg/group", "pkg/lease", "pkg/dledger", "pkg/dledger/member", "pkg/state", "pkg/rolechange", "pkg/commitlog", "pkg/batch", "pkg/buffer", "pkg/filter", "pkg/passthrough",
			"proto/broker/v1", "proto/record/v1", "proto/dledger/v1",
		},
		why: "floor 3: one broker, built from floors 0 to 2; not from the client",
	},
	{
		path:  "pkg/client",
		ours:  []string{"pkg/batch", "pkg/buffer", "pkg/passthrough", "proto/broker/v1"},
		never: []string{pebble, module + "/pkg/dledger", module + "/pkg/state", module + "/pkg/broker", module + "/pkg/commitlog"},
		why:   "floor 3: users import it alone",
	},
	{
		path:  "cmd/internal/clitest",
		ours:  []string{"cmd/internal/cli", "pkg/broker", "pkg/client"},
		tests: true,
		why:   "floor 4, for tests: a command line against a broker in the same process",
	},
	{
		path: "cmd/...",
		ours: []string{"pkg/broker", "pkg/client", "pkg/batch", "pkg/history", "proto/broker/v1"},
		why:  "floor 4: flags, config, signals and exit codes; no logic",
	},
	{
		path:  "test/...",
		ours:  []string{"..."},
		tests: true,
		why:   "floor 4: tests may look at everything",
	},
}

// A listed package is what `go list` says of one.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func (l listed) rel() string { return strings.TrimPrefix(l.ImportPath, module+"/") }

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, l)
	}
}

func TestFloors(t *testing.T) {
	for _, pkg := range listPackages(t) {
		r, ok := roomOf(pkg.rel())
		if !ok {
			t.Errorf("%s stands on no floor: give it a room in this file, and an ADR that says why", pkg.rel())
			continue
		}
		for _, imported := range pkg.Imports {
			if reason := r.refuses(imported); reason != "" {
				t.Errorf("%s imports %s: %s (%s)", pkg.rel(), imported, reason, r.why)
			}
		}
		for _, never := range r.never {
			if i := slices.IndexFunc(pkg.Deps, func(d string) bool { return within(d, never) }); i >= 0 {
				t.Errorf("%s reaches %s, which it never may (%s)", pkg.rel(), pkg.Deps[i], r.why)
			}
		}
		if r.path == "pkg/dledger/member" {
			t.Logf("pkg/dledger/member imports %s", strings.Join(pkg.Imports, " "))
		}
	}
}

func roomOf(rel string) (room, bool) {
	for _, r := range rooms {
		tree, isTree := strings.CutSuffix(r.path, "/...")
		if rel == r.path || isTree && within(rel, tree) {
			return r, true
		}
	}
	return room{}, false
}

// refuses says why the room does not let the import in, or nothing.
func (r room) refuses(imported string) string {
	rel, ours := strings.CutPrefix(imported, module+"/")
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case ours && !r.tests && forTests(rel):
		return "only tests import it"
	case ours && r.takes(rel):
		return ""
	case ours:
		return "an import goes down the floors of the house"
	case imported == "testing" && !r.tests:
		return "production code does not import testing"
	case r.std != nil && !strings.Contains(first, ".") && !slices.Contains(r.std, imported):
		return "not among the packages of the standard library that it may use"
	}
	return ""
}

// forTests tells whether only tests may import a package.
func forTests(rel string) bool {
	r, ok := roomOf(rel)
	return ok && r.tests
}

func (r room) takes(rel string) bool {
	tree, isTree := strings.CutSuffix(r.path, "/...")
	if isTree && within(rel, tree) {
		return true
	}
	return slices.ContainsFunc(r.ours, func(o string) bool { return o == rel || o == "..." })
}

// within tells whether path is tree or below it, by whole elements.
func within(path, tree string) bool {
	return path == tree || strings.HasPrefix(path, tree+"/")
}
