// Package compose runs the shipped image as docker-compose.yml describes it.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/test/cluster"
)

const messages = 20_000

func TestMain(m *testing.M) { cluster.Main(m) }

// TestLeaderContainerIsKilled brings the three containers up, publishes, kills
// the leader's container meanwhile, and consumes every message in order.
func TestLeaderContainerIsKilled(t *testing.T) {
	if os.Getenv("COMPOSE") == "" {
		t.Skip("SKIPPED: needs a Docker engine and the image; run `make compose`")
	}
	s := up(t)
	leader := s.leader(t)
	s.admin(t, "topic", "create", "orders", "--queues", "1")

	var input bytes.Buffer
	for i := range messages {
		fmt.Fprintf(&input, "order %d\n", i)
	}
	producer := cluster.Program(t.Context(), "producer", "orders", "--server", s.servers, "--rate", "4000")
	producer.Stdin = bytes.NewReader(input.Bytes())
	var told bytes.Buffer
	producer.Stdout, producer.Stderr = &told, &told
	if err := producer.Start(); err != nil {
		t.Fatal(err)
	}
	s.waitForOffset(t, "orders", messages/10)
	container := strings.TrimSpace(s.compose(t, "ps", "-q", leader))
	run(t, "docker", "kill", "-s", "KILL", container)
	t.Logf("killed the container of %s", leader)
	if err := producer.Wait(); err != nil {
		t.Fatalf("producer: %v\n%s", err, told.Bytes())
	}

	consumer := cluster.Program(t.Context(), "consumer", "orders", "--server", s.servers, "--from", "earliest", "--exit-at-end", "-o", "value")
	got, err := consumer.Output()
	if err != nil {
		t.Fatalf("consumer: %v", err)
	}
	if !bytes.Equal(got, input.Bytes()) {
		t.Errorf("consumed %d bytes that are not the %d published", len(got), input.Len())
	}
	if now := s.leader(t); now == leader {
		t.Errorf("%s leads, whose container was killed", now)
	}
	run(t, "docker", "start", container)
	s.eventually(t, "the killed member to catch up", func() bool {
		members, err := s.status(t.Context())
		return err == nil && len(members) == 3 && members[0].Applied == members[1].Applied && members[1].Applied == members[2].Applied
	})
}

// stack is one running copy of docker-compose.yml.
type stack struct {
	project, servers string
	env              []string
}

func up(t *testing.T) *stack {
	t.Helper()
	ports := cluster.FreePorts(t, 6)
	s := &stack{project: fmt.Sprintf("ledgermq-test-%06x", rand.IntN(1<<24)), env: os.Environ()}
	var servers []string
	for i := range 3 {
		s.env = append(s.env, fmt.Sprintf("PORT_N%d=%d", i+1, ports[2*i]), fmt.Sprintf("HTTP_PORT_N%d=%d", i+1, ports[2*i+1]))
		servers = append(servers, fmt.Sprintf("127.0.0.1:%d", ports[2*i]))
	}
	s.servers = strings.Join(servers, ",")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.command(context.Background(), "logs", "--tail=40").CombinedOutput()
			t.Logf("%s", out)
		}
		if out, err := s.command(context.Background(), "down", "-v", "-t", "5").CombinedOutput(); err != nil {
			t.Errorf("docker-compose down: %v\n%s", err, out)
		}
	})
	s.compose(t, "up", "-d")
	return s
}

func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker-compose", append([]string{"-p", s.project, "-f", "../../docker-compose.yml"}, args...)...)
	cmd.Env = s.env
	return cmd
}

func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := s.command(t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("docker-compose %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String()
}

func (s *stack) admin(t *testing.T, args ...string) {
	t.Helper()
	if out, err := s.adminCommand(t.Context(), args...).CombinedOutput(); err != nil {
		t.Fatalf("broker admin %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (s *stack) adminCommand(ctx context.Context, args ...string) *exec.Cmd {
	return cluster.Program(ctx, "broker", append([]string{"admin", "--server", s.servers}, args...)...)
}

// member is what this test reads of `broker admin status -o json`.
type member struct {
	ID      string `json:"id"`
	Role    string `json:"role"`
	Serving bool   `json:"serving"`
	Applied int64  `json:"applied_index"`
}

func (s *stack) status(ctx context.Context) ([]member, error) {
	out, err := s.adminCommand(ctx, "status", "-o", "json").Output()
	if err != nil {
		return nil, err
	}
	var members []member
	return members, json.Unmarshal(out, &members)
}

func (s *stack) leader(t *testing.T) string {
	t.Helper()
	var leader string
	s.eventually(t, "a leader that serves", func() bool {
		members, err := s.status(t.Context())
		for _, m := range members {
			if m.Role == "LEADER" && m.Serving {
				leader = m.ID
			}
		}
		return err == nil && leader != ""
	})
	return leader
}

func (s *stack) waitForOffset(t *testing.T, topic string, offset int64) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("%d messages in %s", offset, topic), func() bool {
		out, err := s.adminCommand(t.Context(), "topic", "describe", topic, "-o", "json").Output()
		var described struct {
			Queues []struct {
				End int64 `json:"end_offset"`
			} `json:"queues"`
		}
		return err == nil && json.Unmarshal(out, &described) == nil && len(described.Queues) > 0 && described.Queues[0].End >= offset
	})
}

func (s *stack) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	overdue := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-overdue:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
