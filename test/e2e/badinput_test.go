package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// TestBadInput gives a running cluster what no one should give it. Each time the
// answer is a clear error, and at the end all that was published is there.
// Brokers that panic fail the test when they are cleaned up.
func TestBadInput(t *testing.T) {
	c := cluster.Start(t, cluster.Config{})
	c.Admin("topic", "create", "orders")
	const published = "one\ntwo\nthree\n"
	expectExit(t, c, 0, "", "producer", []byte(published), "orders")

	t.Run("garbage on every port", func(t *testing.T) { garbage(t, c) })
	t.Run("a message of 64 MiB", func(t *testing.T) {
		large := bytes.Repeat([]byte("x"), 64<<20)
		expectExit(t, c, 1, "MESSAGE_TOO_LARGE", "producer", large, "orders", "-i", "raw")
		publishRaw(t, c, large)
	})
	t.Run("an unknown topic", func(t *testing.T) {
		expectExit(t, c, 4, "UNKNOWN_TOPIC", "producer", []byte("x\n"), "ordres")
		expectExit(t, c, 4, "UNKNOWN_TOPIC", "consumer", nil, "ordres", "--exit-at-end")
	})
	t.Run("an unknown queue", func(t *testing.T) {
		expectExit(t, c, 4, "UNKNOWN_QUEUE", "consumer", nil, "orders", "--queue", "7", "--exit-at-end")
	})
	t.Run("an offset out of range", func(t *testing.T) {
		expectExit(t, c, 4, "OFFSET_TOO_HIGH", "consumer", nil, "orders", "--from", "@999", "-n", "1")
	})
	t.Run("a bad topic name", func(t *testing.T) {
		expectExit(t, c, 2, "INVALID_TOPIC_NAME", "broker", nil, "admin", "topic", "create", "no spaces please")
	})

	if got := consume(t, c, "orders"); string(got) != published {
		t.Errorf("the topic holds %q, want %q", got, published)
	}
	c.Leader()
}

// expectExit runs a program against the cluster and looks at its exit code and
// for a text in its only line of error.
func expectExit(t *testing.T, c *cluster.Cluster, code int, text, program string, stdin []byte, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cluster.Timeout)
	defer cancel()
	cmd := cluster.Program(ctx, program, append(args, "--server", c.Servers())...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // its exit code tells
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(stderr.String(), text) {
		t.Errorf("%s %s: exit %d, want %d and %q: %.2000s", program, strings.Join(args, " "), got, code, text, stderr.String())
	}
}

// garbage writes what is no protocol of ours to every port of every broker, and
// waits until the broker has ended the connection or taken everything.
func garbage(t *testing.T, c *cluster.Cluster) {
	random := make([]byte, 1<<20)
	_, _ = rand.Read(random)
	preface := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	for _, bytes := range [][]byte{
		random,
		make([]byte, 1<<20),
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		[]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello, this is TLS"),
		append(preface, random...),
	} {
		for _, n := range c.Nodes() {
			for _, addr := range []string{n.Client, n.Peer, n.HTTP} {
				conn, err := net.DialTimeout("tcp", addr, cluster.Timeout)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
				_, _ = conn.Write(bytes) // may be cut off in the middle
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		}
	}
}

// publishRaw sends a request that is larger than any broker takes, as a client
// would that is not ours.
func publishRaw(t *testing.T, c *cluster.Cluster, batches []byte) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+c.Leader().Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), cluster.Timeout)
	defer cancel()
	messaging := brokerv1.NewMessagingServiceClient(conn)
	if _, err := messaging.Publish(ctx, &brokerv1.PublishRequest{Batches: batches}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("64 MiB in one request: %v", err)
	}
	response, err := messaging.Publish(ctx, &brokerv1.PublishRequest{Batches: batches[:4096]})
	if status.Code(err) != codes.InvalidArgument && response.GetResults()[0].GetError().GetCode() != "INVALID_BATCH" {
		t.Errorf("bytes that are no batch: %v, %v", err, response)
	}
}

// TestBrokersThatMustNotStart starts brokers that would do harm.
func TestBrokersThatMustNotStart(t *testing.T) {
	c := cluster.Start(t, cluster.Config{})
	n1, n2 := c.Node("n1"), c.Node("n2")
	dir := t.TempDir()
	typo := filepath.Join(dir, "broker.yaml")
	if err := os.WriteFile(typo, []byte("cluster:\n  pears: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := []string{"--client-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0"}
	for _, test := range []struct {
		name string
		code int
		text string
		args []string
	}{
		{"a config typo", 2, `broker.yaml:2:3: unknown key "pears" under cluster — did you mean "peers"?`, []string{"--config", typo}},
		{"a port in use", 1, "ADDRESS_IN_USE", []string{"--data", filepath.Join(dir, "a"), "--client-addr", n1.Client}},
		{"a data directory in use", 2, "is in use by another broker", append([]string{"--id", "n1", "--cluster-id", "test", "--data", n1.Data}, fresh...)},
		{"not among the peers", 2, `cluster.peers has no "n9"`, []string{"--id", "n9", "--peers", "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=127.0.0.1:3"}},
		{"two brokers with one id", 1, "Two brokers must not have one id", append(peersOf(c), append(fresh, "--id", "n1", "--cluster-id", "test", "--data", filepath.Join(dir, "twin"))...)},
	} {
		t.Run(test.name, func(t *testing.T) { expectNoStart(t, test.code, test.text, test.args...) })
	}

	n2.Terminate()
	t.Run("a data directory of another member", func(t *testing.T) {
		expectNoStart(t, 2, `belongs to cluster "test" node n2, but this is cluster "test" node n1. Nothing was changed.`,
			append([]string{"--id", "n1", "--cluster-id", "test", "--data", n2.Data}, fresh...)...)
	})
	t.Run("a data directory of another cluster", func(t *testing.T) {
		expectNoStart(t, 2, `but this is cluster "prod" node n2. Nothing was changed.`,
			append([]string{"--id", "n2", "--cluster-id", "prod", "--data", n2.Data}, fresh...)...)
	})
	n2.Start()
	c.Eventually("all three brokers", func(ctx context.Context) bool {
		for _, n := range c.Nodes() {
			if s, err := n.Status(ctx); err != nil || s.GetLeader() == "" {
				return false
			}
		}
		return true
	})
}

func peersOf(c *cluster.Cluster) []string {
	var peers []string
	for _, n := range c.Nodes() {
		peers = append(peers, n.ID+"="+n.Peer)
	}
	return []string{"--peers", strings.Join(peers, ",")}
}

// expectNoStart runs `broker serve` and expects it to end by itself with one
// line of error; what it logs before that is its own affair.
func expectNoStart(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cluster.Timeout)
	defer cancel()
	cmd := cluster.Program(ctx, "broker", append([]string{"serve", "--log-format", "json"}, args...)...)
	cmd.Dir = t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // its exit code tells
	said := lastLine(stderr.String())
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.HasPrefix(said, "broker: ") || !strings.Contains(said, text) {
		t.Errorf("exit %d, want %d and %q: %s", got, code, text, stderr.String())
	}
	t.Log(said)
}

// TestMetricsAreDocumented asks a leader and looks for each family of ours that
// it shows in docs/metrics.md.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Config{Members: 1})
	response, err := http.Get("http://" + c.Leader().HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	families := 0
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "# TYPE broker_")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, " ")
		families++
		if name = strings.TrimSuffix("broker_"+name, "_total"); !strings.Contains(string(page), name) {
			t.Errorf("docs/metrics.md does not describe %s", name)
		}
	}
	if families == 0 {
		t.Errorf("no metric of ours in\n%.2000s", text)
	}
}
