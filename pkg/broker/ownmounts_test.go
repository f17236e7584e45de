package broker

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// ownMountsEnv is set in the process that has mounts of its own.
const ownMountsEnv = "LEDGERMQ_TEST_OWN_MOUNTS"

// ownMounts says whether to go on with a test that mounts file systems. It runs the
// test once more in a process whose mounts nobody else sees and which the kernel
// removes when it ends, however it ends; there it says true. Without root it tries a
// user namespace, and where that is not allowed the test is skipped.
func ownMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMountsEnv) != "" {
		return true
	}
	if why := mayOwnMounts(t); why != nil {
		t.Skipf("SKIPPED, 1 test: %s needs a mount namespace of its own, by root or in a user namespace: %v", t.Name(), why)
	}
	cmd := ownMountsCommand("-test.run=^" + t.Name() + "$")
	out, err := cmd.CombinedOutput()
	t.Logf("in a mount namespace of its own:\n%s", out)
	require.NoError(t, err)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// mayOwnMounts is why there can be no such process here; nil: there can.
func mayOwnMounts(t *testing.T) error {
	t.Helper()
	cmd := ownMountsCommand("-test.run=^TestOwnMounts$")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	return err
}

func ownMountsCommand(run string) *exec.Cmd {
	args := []string{run, "-test.v", "-test.count=1", "-test.timeout=110s"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), ownMountsEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Unshareflags = 0
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// A file system that is mounted there is not mounted here.
func TestOwnMounts(t *testing.T) {
	if os.Getenv(ownMountsEnv) != "" {
		smallDisk(t, 1<<20)
		return
	}
	before := mounted(t)
	if !ownMounts(t) {
		require.Equal(t, before, mounted(t))
	}
}

func mounted(t *testing.T) int {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	return strings.Count(string(table), "TestOwnMounts")
}
