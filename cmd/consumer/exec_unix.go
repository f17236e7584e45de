//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// apart puts a command into a process group of its own: Ctrl-C on the terminal is for us,
// who wait for it, and when it is killed, so is all that it has started.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
