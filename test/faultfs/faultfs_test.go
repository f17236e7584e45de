package faultfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// mounted is a mount over an empty directory, or the reason why there is none.
func mounted(t *testing.T) (f *FS, under, mount string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skipf("SKIPPED: this machine has no FUSE: %v", err)
	}
	under, mount = t.TempDir(), t.TempDir()
	f, err := Mount(under, mount)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return f, under, mount
}

func TestPassesThrough(t *testing.T) {
	_, under, mount := mounted(t)
	if err := os.Mkdir(filepath.Join(mount, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	path := filepath.Join(mount, "dir", "a")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{mount, under} {
		if got, err := os.ReadFile(filepath.Join(dir, "dir", "a2")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", dir, len(got), err)
		}
	}
}

func TestFailsOnce(t *testing.T) {
	f, under, mount := mounted(t)
	file, err := os.Create(filepath.Join(mount, "a.seg"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("begin"); err != nil {
		t.Fatal(err)
	}
	calls := map[Call]func() error{
		Sync:  func() error { return syscall.Fdatasync(int(file.Fd())) },
		Write: func() error { _, err := file.WriteAt([]byte("x"), 5); return err },
		Read:  func() error { _, err := file.ReadAt(make([]byte, 5), 0); return err },
	}
	for call, do := range calls {
		if err := do(); err != nil {
			t.Fatalf("%v before: %v", call, err)
		}
		f.Fail(call, ".other", 0)
		if err := do(); err != nil {
			t.Errorf("%v of a file that is not meant: %v", call, err)
		}
		failed := f.Fail(call, ".seg", 1)
		for i, want := range []error{nil, syscall.EIO, nil} {
			if err := do(); !errors.Is(err, want) {
				t.Errorf("%v, call %d: %v, want %v", call, i, err, want)
			}
		}
		select {
		case <-failed:
		default:
			t.Errorf("%v: nobody was told", call)
		}
		if got := f.Failed(); got == nil || *got != (Failure{Path: "a.seg"}) {
			t.Errorf("%v of %+v has failed", call, got)
		}
	}
	if got, err := os.ReadFile(filepath.Join(under, "a.seg")); err != nil || string(got) != "beginx" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDirectorySyncFailsOnce(t *testing.T) {
	f, _, mount := mounted(t)
	if err := os.Mkdir(filepath.Join(mount, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(filepath.Join(mount, "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f.Fail(Sync, "d/", 0)
	for i, want := range []error{syscall.EIO, nil} {
		if err := dir.Sync(); !errors.Is(err, want) {
			t.Errorf("sync %d: %v, want %v", i, err, want)
		}
	}
	if got := f.Failed(); got == nil || got.Path != "d/" {
		t.Errorf("the sync of %+v has failed", got)
	}
}
