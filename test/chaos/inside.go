package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dirEnv names the directory of a run; it is set for the process inside.
const dirEnv = "CHAOS_DIR"

// ourPrefix begins the names of our directories and freezer groups; the pid of the
// process outside follows.
const ourPrefix = "ledgermq-chaos-"

const freezerRoot = "/sys/fs/cgroup/freezer"

// outside runs this program again inside new namespaces and cleans up after it. It
// returns the exit code; ok is false when the machine does not allow namespaces.
func outside(dir string) (code int, ok bool) {
	sweep()
	defer removeFreezerGroups(os.Getpid())
	self, err := os.Executable()
	if err != nil {
		return 1, false
	}
	// Pdeathsig is the death of this thread, so it must live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), dirEnv+"="+dir, "CHAOS_GROUP="+ourPrefix+strconv.Itoa(os.Getpid()))
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := child.Start(); err != nil {
		fmt.Println("chaos: no namespaces:", err)
		return 1, false
	}
	// Whoever stops us gets an orderly end: the process inside ends by itself.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = child.Process.Signal(s)
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				fmt.Println("chaos:", err)
			}
			if code = child.ProcessState.ExitCode(); code < 0 {
				code = 1
			}
			return code, true
		}
	}
}

// settle makes the new namespaces a place to work in.
func settle() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_PRIVATE | syscall.MS_REC},
		{"tmpfs", "/run", "tmpfs", 0}, // named network namespaces and mount's own notes
		{"proc", "/proc", "proc", 0},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return loopbackUp()
}

// loopbackUp switches the loopback of this namespace on, also where there is no ip(8).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket for the loopback: %w", err)
	}
	defer unix.Close(fd)
	request := struct { // ifreq of netdevice(7)
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: unix.IFF_UP | unix.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("switch the loopback on: %w", errno)
	}
	return nil
}

// command runs a program; its error holds what it said.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// sweep removes what runs that were killed left behind: freezer groups and disk images.
func sweep() {
	groups, _ := filepath.Glob(filepath.Join(freezerRoot, ourPrefix+"*"))
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), ourPrefix+"*"))
	for _, dir := range append(groups, dirs...) {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), ourPrefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || !errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			continue
		}
		removeFreezerGroups(n)
		images, _ := filepath.Glob(filepath.Join(dir, "*.img"))
		for _, image := range images {
			_ = os.Remove(image)
		}
	}
}

// removeFreezerGroups thaws and removes the groups of one run.
func removeFreezerGroups(pid int) {
	ours, _ := filepath.Glob(filepath.Join(freezerRoot, fmt.Sprintf("%s%d-*", ourPrefix, pid)))
	for _, dir := range ours {
		_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0)
		for range 100 { // what was frozen has to die first
			if os.Remove(dir) == nil {
				break
			}
			pause(10 * time.Millisecond)
		}
	}
}

// pause waits for the kernel, where it tells of no event.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}
