package cluster

import (
	"context"
	"errors"
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

	t    testing.TB
	args []string
	log  string
	cmd  *exec.Cmd // nil while it does not run
	logs *os.File
}

// Start starts the process, for the first time or again.
func (n *Node) Start() {
	n.t.Helper()
	logs, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd, n.logs = Program(context.WithoutCancel(n.t.Context()), "broker", n.args...), logs
	n.cmd.Stdout, n.cmd.Stderr = logs, logs
	if err := n.cmd.Start(); err != nil {
		n.t.Fatalf("%s: %v", n.ID, err)
	}
}

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
	if n.cmd == nil {
		n.t.Fatalf("%s does not run", n.ID)
	}
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("%s: %v: %v", n.ID, s, err)
	}
}

// Wait waits for the end of the process and returns its exit code, -1 after a signal.
func (n *Node) Wait() int {
	n.t.Helper()
	overdue := time.AfterFunc(Timeout, func() { _ = n.cmd.Process.Kill() })
	err := n.cmd.Wait()
	if !overdue.Stop() {
		n.t.Errorf("%s did not end within %v", n.ID, Timeout)
	}
	code := n.cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Errorf("%s: %v", n.ID, err)
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
		_ = n.cmd.Wait()
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
