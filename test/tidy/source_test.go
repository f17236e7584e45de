package tidy

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root = "../.."

	maxFunctionLines = 70
	maxFileLines     = 500
)

// goStatements are the files that may start goroutines by themselves, and why.
// Everywhere else a goroutine is started by an errgroup in its owner's Run.
var goStatements = map[string]string{}

// memberClock are the functions of package time that read or wait for a clock.
var memberClock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// A source is one parsed Go file of the project; generated files are left out.
type source struct {
	path  string // from the root, with slashes
	lines int
	file  *ast.File
	fset  *token.FileSet
}

func (s source) isTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || strings.HasPrefix(s.path, "test/")
}

func (s source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

func (s source) linesOf(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

// tableLines counts the lines of a literal that a function returns: a table is
// data, and reads no better when it is cut.
func (s source) tableLines(f *ast.FuncDecl) int {
	if f.Body == nil || len(f.Body.List) == 0 {
		return 0
	}
	ret, ok := f.Body.List[len(f.Body.List)-1].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return 0
	}
	if table, ok := ret.Results[0].(*ast.CompositeLit); ok {
		return s.linesOf(table)
	}
	return 0
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(path string, text []byte) {
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, ".pb.go") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("parse: %v", err)
			return
		}
		all = append(all, source{path: path, lines: strings.Count(string(text), "\n"), file: file, fset: fset})
	})
	return all
}

// walk visits every text file of the project.
func walk(t *testing.T, visit func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		switch {
		case d.IsDir() && slices.Contains([]string{".git", "bin", "data"}, rel):
			return filepath.SkipDir
		case !d.Type().IsRegular() || filepath.Base(rel) == "go.sum" || strings.Contains(rel, "testdata/fuzz/"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil && !slices.Contains(text, 0) {
			visit(filepath.ToSlash(rel), text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLengths(t *testing.T) {
	type length struct {
		what  string
		lines int
	}
	var files, functions []length
	for _, s := range sources(t) {
		files = append(files, length{s.path, s.lines})
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				functions = append(functions, length{s.at(f.Pos()) + " " + f.Name.Name, s.linesOf(f) - s.tableLines(f)})
			}
		}
	}
	check := func(kind string, all []length, limit int) {
		slices.SortFunc(all, func(a, b length) int { return cmp.Compare(b.lines, a.lines) })
		if len(all) > 0 {
			t.Logf("longest %s: %s, %d lines", kind, all[0].what, all[0].lines)
		}
		for _, l := range all {
			if l.lines > limit {
				t.Errorf("%s has %d lines, more than %d", l.what, l.lines, limit)
			}
		}
	}
	check("function", functions, maxFunctionLines)
	check("file", files, maxFileLines)
}

func TestGoroutinesHaveAnOwner(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				used[s.path] = true
				if goStatements[s.path] == "" {
					t.Errorf("%s: go statement; start goroutines in an errgroup in the owner's Run, or add the file with its reason to goStatements", s.at(g.Pos()))
				}
			}
			return true
		})
	}
	for path := range goStatements {
		if !used[path] {
			t.Errorf("goStatements allows %s, which has no go statement", path)
		}
	}
}

// TestNoSleepsInTests lets a test sleep only where it runs in a bubble of
// testing/synctest: time there passes when nothing else can.
func TestNoSleepsInTests(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		for _, decl := range s.file.Decls {
			if !mentions(decl, "synctest") {
				forbidTime(t, s, decl, []string{"Sleep"}, "a test waits for an event, not for a time")
			}
		}
	}
}

// mentions tells whether a declaration uses a package.
func mentions(decl ast.Decl, pkg string) bool {
	found := false
	ast.Inspect(decl, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == pkg {
				found = true
			}
		}
		return !found
	})
	return found
}

func TestMemberHasNoClock(t *testing.T) {
	for _, s := range sources(t) {
		if filepath.Dir(s.path) == "pkg/dledger/member" && !s.isTest() {
			forbidTime(t, s, s.file, memberClock, "the algorithm is told the time")
			ast.Inspect(s.file, func(n ast.Node) bool {
				if g, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s: goroutine in the algorithm", s.at(g.Pos()))
				}
				return true
			})
		}
	}
}

func forbidTime(t *testing.T, s source, in ast.Node, names []string, why string) {
	t.Helper()
	ast.Inspect(in, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(names, sel.Sel.Name) {
			t.Errorf("%s: time.%s: %s", s.at(sel.Pos()), sel.Sel.Name, why)
		}
		return true
	})
}

// unfinished matches the marks of work that was left for later; they are
// spelled apart so that this file does not match itself.
var unfinished = regexp.MustCompile(`\b(` + "TO" + "DO" + `|` + "FIX" + "ME" + `|` + "XX" + "X" + `)\b`)

func TestNothingUnfinished(t *testing.T) {
	walk(t, func(path string, text []byte) {
		for i, line := range strings.Split(string(text), "\n") {
			if mark := unfinished.FindString(line); mark != "" {
				t.Errorf("%s:%d: %s: do it, or file an issue and say nothing here", path, i+1, mark)
			}
		}
	})
}
