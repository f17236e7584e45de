package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Node is one broker process, running or not.
type Node struct {
	ID                 string
	Data               string
	Client, Peer, HTTP string // addresses

	t     testing.TB
	wrap  []string
	args  []string
	env   []string
	log   string
	cmd   *exec.Cmd // nil while it does not run
	logs  *os.File
	ended chan struct{} // closed when cmd has ended
	err   error         // of cmd, when it has ended
}

// Start starts the process, for the first time or again.
func (n *Node) Start() {
	n.t.Helper()
	logs, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := Program(context.WithoutCancel(n.t.Context()), "broker", n.args...)
	// The disk of the machine may be fuller than a broker likes.
	cmd.Env = append(cmd.Env, "LEDGERMQ_STORAGE_DISK_WARN_AT=128MiB", "LEDGERMQ_STORAGE_DISK_READ_ONLY_AT=64MiB")
	cmd.Env = append(cmd.Env, n.env...)
	if len(n.wrap) > 0 {
		wrapped := exec.Command(n.wrap[0], append(n.wrap[1:len(n.wrap):len(n.wrap)], cmd.Args...)...)
		wrapped.Env, cmd = cmd.Env, wrapped
	}
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		n.t.Fatalf("%s: %v", n.ID, err)
	}
	ended := make(chan struct{})
	n.cmd, n.logs, n.ended = cmd, logs, ended
	go func() {
		n.err = cmd.Wait()
		close(ended)
	}()
}

// Pid is the number of the running process.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Ended is closed when the process that runs, or ran last, is gone.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Kill9 ends the process as the kernel would, and waits until it is gone.
func (n *Node) Kill9() {
	n.t.Helper()
	n.Signal(syscall.SIGKILL)
	n.Wait()
}

// Pause stops the process in its tracks; Resume lets it go on.
func (n *Node) Pause() { n.t.Helper(); n.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (n *Node) Resume() { n.t.Helper(); n.Signal(syscall.SIGCONT) }

// Terminate asks the process to stop, waits for it and returns its exit code.
func (n *Node) Terminate() int {
	n.t.Helper()
	n.Signal(syscall.SIGTERM)
	return n.Wait()
}

// Signal sends a signal and waits for nothing.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	if !n.TrySignal(s) {
		n.t.Fatalf("%s: %v: it has ended by itself", n.ID, s)
	}
}

// TrySignal sends a signal and waits for nothing; false tells that the process has
// ended by itself.
func (n *Node) TrySignal(s syscall.Signal) bool {
	n.t.Helper()
	if n.cmd == nil {
		n.t.Fatalf("%s does not run", n.ID)
	}
	err := n.cmd.Process.Signal(s)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatalf("%s: %v: %v", n.ID, s, err)
	}
	return err == nil
}

// Wait waits for the end of the process and returns its exit code, -1 after a signal.
func (n *Node) Wait() int {
	n.t.Helper()
	overdue := time.NewTimer(Timeout)
	defer overdue.Stop()
	select {
	case <-n.ended:
	case <-overdue.C:
		n.t.Errorf("%s did not end within %v", n.ID, Timeout)
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	code := n.cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if n.err != nil && !errors.As(n.err, &exit) {
		n.t.Errorf("%s: %v", n.ID, n.err)
	}
	_ = n.logs.Close()
	n.cmd = nil
	return code
}

// Running tells whether the process was started and not ended by this node's methods.
func (n *Node) Running() bool { return n.cmd != nil }

func (n *Node) cleanup() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		<-n.ended
		_ = n.logs.Close()
	}
	text := n.Logs()
	if strings.Contains(text, "panic: ") || strings.Contains(text, "fatal error: ") {
		n.t.Errorf("%s panicked", n.ID)
	}
	if n.t.Failed() {
		n.t.Logf("end of the log of %s:\n%s", n.ID, text[max(0, len(text)-4000):])
	}
}

// Logs is everything that the process has logged so far, over its restarts.
func (n *Node) Logs() string {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Status asks the process how it is.
func (n *Node) Status(ctx context.Context) (*brokerv1.MemberStatus, error) {
	conn, err := grpc.NewClient("passthrough:///"+n.Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	response, err := brokerv1.NewStatusServiceClient(conn).GetStatus(ctx, &brokerv1.GetStatusRequest{})
	return response.GetStatus(), err
}

// PeakMemory is the most resident memory that the running process has had, in bytes,
// as the kernel counts it.
func (n *Node) PeakMemory() int64 {
	n.t.Helper()
	if n.cmd == nil {
		n.t.Fatalf("%s does not run", n.ID)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatalf("%s has ended: %v", n.ID, err)
	}
	_, after, found := strings.Cut(string(text), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil || !found {
		n.t.Fatalf("%s: no VmHWM in its status: %v", n.ID, err)
	}
	return kib << 10
}
