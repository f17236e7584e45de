package tidy

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedCodeIsCurrent generates the protobuf code anew beside the tree
// and compares every byte, in both directions.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	fresh := t.TempDir()
	copyTo(t, fresh, "go.mod", "go.sum")
	copyTo(t, fresh, protoFiles(t, root, ".proto")...)

	cmd := exec.Command("go", "-C", filepath.Join(root, "tools/protogen"), "run", ".", fresh)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tools/protogen: %v\n%s", err, out)
	}
	want := protoFiles(t, fresh, ".pb.go")
	if len(want) == 0 {
		t.Fatal("tools/protogen generated nothing")
	}
	for _, path := range want {
		generated, _ := os.ReadFile(filepath.Join(fresh, path))
		checkedIn, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || !bytes.Equal(generated, checkedIn) {
			t.Errorf("%s is not what its .proto generates: run make gen", path)
		}
	}
	for _, path := range protoFiles(t, root, ".pb.go") {
		if _, err := os.Stat(filepath.Join(fresh, path)); err != nil {
			t.Errorf("%s has no .proto that generates it", path)
		}
	}
}

// protoFiles lists the files below dir/proto whose names end in suffix, from dir.
func protoFiles(t *testing.T, dir, suffix string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(filepath.Join(dir, "proto"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			rel, _ := filepath.Rel(dir, path)
			paths = append(paths, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func copyTo(t *testing.T, dir string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
