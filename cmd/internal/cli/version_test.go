package cli

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestLinkerSetsTheVersion: make build names the variable that all programs print.
func TestLinkerSetsTheVersion(t *testing.T) {
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if want := "-X " + reflect.TypeFor[Build]().PkgPath() + ".version=$(VERSION)"; !strings.Contains(string(makefile), want) {
		t.Errorf("the Makefile has no %s", want)
	}
	defer func(was string) { version = was }(version)
	version = "v9.8.7"
	var out strings.Builder
	cmd := VersionCommand("p")
	cmd.SetOut(&out)
	cmd.SetArgs([]string{})
	if err := cmd.Execute(); err != nil || !strings.HasPrefix(out.String(), "p v9.8.7 (revision ") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
