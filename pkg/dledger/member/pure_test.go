package member

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowedImports is all that the algorithm may know of the world.
var allowedImports = []string{"cmp", "errors", "fmt", "maps", "math", "math/rand/v2", "slices", "strings", "time"}

// forbiddenTime reads or waits for a clock.
var forbiddenTime = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// allowedRand makes nothing up: chance comes from Config.Rand only.
var allowedRand = []string{"Rand"}

// TestPure keeps clock, disk, network and chance out of the package: what a Member
// does follows from what it is told, so every run can be repeated.
func TestPure(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !slices.Contains(allowedImports, path) || spec.Name != nil {
				t.Errorf("%s: imports %s", fset.Position(spec.Pos()), path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%s: concurrency", fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				clock := pkg.Name == "time" && slices.Contains(forbiddenTime, n.Sel.Name)
				chance := pkg.Name == "rand" && !slices.Contains(allowedRand, n.Sel.Name)
				if clock || chance {
					t.Errorf("%s: uses %s.%s", fset.Position(n.Pos()), pkg.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
}
