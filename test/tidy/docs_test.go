package tidy

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSettingsAreDocumented looks for every key of the configuration file.
func TestSettingsAreDocumented(t *testing.T) {
	types := map[string]*ast.StructType{}
	for _, s := range sources(t) {
		if filepath.Dir(s.path) != "pkg/broker" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if st, ok := spec.Type.(*ast.StructType); ok {
					types[spec.Name.Name] = st
				}
			}
			return true
		})
	}
	if types["Config"] == nil {
		t.Fatal("pkg/broker has no struct Config")
	}
	documented(t, "docs/configuration.md", "`", settingsOf(types, "Config", ""))
}

// settingsOf lists the yaml paths of a struct type.
func settingsOf(types map[string]*ast.StructType, name, prefix string) []string {
	var paths []string
	for _, field := range types[name].Fields.List {
		if field.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(field.Tag.Value)
		key, _, _ := strings.Cut(reflect.StructTag(tag).Get("yaml"), ",")
		group, isName := field.Type.(*ast.Ident)
		switch {
		case key == "" || key == "-":
		case isName && types[group.Name] != nil:
			paths = append(paths, settingsOf(types, group.Name, prefix+key+".")...)
		default:
			paths = append(paths, prefix+key)
		}
	}
	return paths
}

var metricName = regexp.MustCompile(`^broker_[a-z0-9_]+$`)

// TestMetricsAreDocumented looks for every name that begins with broker_, and
// for the names in the options of metrics.
func TestMetricsAreDocumented(t *testing.T) {
	names := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if text := literal(n); metricName.MatchString(text) {
					names[text] = true
				}
			case *ast.CompositeLit:
				if sel, ok := n.Type.(*ast.SelectorExpr); ok && strings.HasSuffix(sel.Sel.Name, "Opts") {
					if name := metricOf(n); name != "" {
						names[name] = true
					}
				}
			}
			return true
		})
	}
	documented(t, "docs/metrics.md", "`", slices.Sorted(maps.Keys(names)))
}

// metricOf joins namespace, subsystem and name of a metric's options.
func metricOf(options *ast.CompositeLit) string {
	parts := map[string]string{}
	for _, e := range options.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok {
				parts[key.Name] = literal(kv.Value)
			}
		}
	}
	if parts["Name"] == "" {
		return ""
	}
	all := []string{parts["Namespace"], parts["Subsystem"], parts["Name"]}
	return strings.Join(slices.DeleteFunc(all, func(p string) bool { return p == "" }), "_")
}

var errorCode = regexp.MustCompile(`^[A-Z][A-Z0-9]+(_[A-Z0-9]+)*$`)

// TestErrorCodesAreDocumented looks for every constant whose name says that it
// is a code, and for codes written into an error's Code field.
func TestErrorCodesAreDocumented(t *testing.T) {
	codes := map[string]bool{}
	note := func(e ast.Expr) {
		if text := literal(e); errorCode.MatchString(text) {
			codes[text] = true
		}
	}
	for _, s := range sources(t) {
		// The codes of member are answers between members, in docs/protocol.md.
		if s.isTest() || filepath.Dir(s.path) == "pkg/dledger/member" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if strings.HasPrefix(strings.ToLower(name.Name), "code") && i < len(n.Values) {
						note(n.Values[i])
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					note(n.Value)
				}
			}
			return true
		})
	}
	documented(t, "docs/errors.md", "", slices.Sorted(maps.Keys(codes)))
}

// literal returns the text of a string literal, or nothing.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(lit.Value)
	return text
}

// documented looks for names in a page, each between quotes or whole words.
func documented(t *testing.T, page, quote string, names []string) {
	t.Helper()
	if len(names) == 0 {
		t.Errorf("nothing found that %s should describe: the check has lost its object", page)
	}
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Errorf("%v: it should describe %d names", err, len(names))
		return
	}
	for _, name := range names {
		if !regexp.MustCompile(`(?m)(^|[^A-Za-z0-9_])` + regexp.QuoteMeta(quote+name+quote) + `($|[^A-Za-z0-9_])`).Match(text) {
			t.Errorf("%s does not describe %s%s%s", page, quote, name, quote)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksResolve follows the relative links of every page.
func TestLinksResolve(t *testing.T) {
	walk(t, func(path string, text []byte) {
		if filepath.Ext(path) != ".md" {
			return
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			target, _, _ := strings.Cut(string(m[1]), "#")
			if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", path, target)
			}
		}
	})
}
