package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// serveOrders starts a broker with ten messages in orders/0, of which the group billing
// has consumed four.
func serveOrders(t *testing.T) (addr string) {
	t.Helper()
	s := clitest.StartServer(t, nil, map[string]int{"orders": 1})
	c := s.Client
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "orders"})
	require.NoError(t, err)
	for range 10 {
		p.Publish(t.Context(), client.Message{Value: []byte("x")})
	}
	require.NoError(t, p.Close(t.Context()))
	g, err := c.GroupConsumer(t.Context(), client.GroupConfig{Group: "billing", Topic: "orders"})
	require.NoError(t, err)
	for range 5 {
		_, err := g.Next(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, g.Close(t.Context()))
	return s.Addr
}

func TestGroupCommands(t *testing.T) {
	addr := serveOrders(t)
	admin := func(args ...string) (string, string, cli.ExitCode) {
		return run(t, append([]string{"admin", "group", "--server", addr}, args...)...)
	}
	table := func(args ...string) string {
		out, errs, code := admin(args...)
		require.Zero(t, code, errs)
		return strings.Join(strings.Fields(out), " ")
	}
	require.Equal(t, "GROUP ASSIGNMENT MEMBERS QUEUES LAG STATE billing sticky 0 1 6 empty", table("list"))
	out, _, _ := admin("describe", "billing", "-o", "json")
	var d describedGroup
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	require.Len(t, d.QueueList, 1)
	q := d.QueueList[0]
	require.Equal(t, []int64{4, 0, 10, 6}, []int64{q.Offset, q.First, q.End, q.Lag})
	require.Positive(t, q.LagSeconds)
	require.NotNil(t, q.Committed)
	require.Nil(t, d.Work)
	require.Contains(t, table("describe", "billing"), "GROUP ASSIGNMENT STATE MEMBERS LAG POLICY billing sticky empty 0 6 - QUEUE")
	require.Contains(t, table("describe", "billing"), "orders/0 4 10 6")

	out, errs, code := admin("reset", "billing", "--shift", "-3", "--dry-run")
	require.Zero(t, code)
	require.Equal(t, "dry run: nothing was changed\n", errs)
	require.Equal(t, "QUEUE BEFORE AFTER FIRST END orders/0 4 1 0 10", strings.Join(strings.Fields(out), " "))
	require.Contains(t, table("reset", "billing", "--to", "latest", "--topic", "orders", "--queue", "0"), "orders/0 4 10 0 10")
	require.Contains(t, table("reset", "billing", "--to", "1h"), "orders/0 10 0 0 10")
	require.Contains(t, table("reset", "billing", "--to", "@7"), "orders/0 0 7 0 10")
	require.Contains(t, table("pause", "billing"), "billing true")
	require.Contains(t, table("list"), "paused")
	require.Contains(t, table("resume", "billing"), "billing false")
	require.Contains(t, table("delete", "billing"), "billing")
	require.Equal(t, "GROUP ASSIGNMENT MEMBERS QUEUES LAG STATE", table("list"))

	for _, tc := range []struct {
		want string
		code cli.ExitCode
		args []string
	}{
		{"UNKNOWN_GROUP", cli.ExitNotFound, []string{"describe", "billing"}},
		{"UNKNOWN_GROUP", cli.ExitNotFound, []string{"delete", "billing"}},
		{"exactly one of --to", cli.ExitUsage, []string{"reset", "billing"}},
		{"exactly one of --to", cli.ExitUsage, []string{"reset", "billing", "--to", "latest", "--shift", "1"}},
		{"--queue needs --topic", cli.ExitUsage, []string{"reset", "billing", "--to", "latest", "--queue", "1"}},
		{"want earliest, latest", cli.ExitUsage, []string{"reset", "billing", "--to", "yesterday"}},
	} {
		_, errs, code := admin(tc.args...)
		require.Equal(t, tc.code, code, errs)
		require.Contains(t, errs, tc.want)
	}
}

// TestWorkGroupsAreDescribedWithTheirPolicy, and a policy that is none is refused by its cause.
func TestWorkGroupsAreDescribedWithTheirPolicy(t *testing.T) {
	_, addr := startBroker(t)
	admin := func(args ...string) (string, string, cli.ExitCode) {
		return run(t, append([]string{"admin", "group", "--server", addr}, args...)...)
	}
	described := func(name string) string {
		out, errs, code := admin("describe", name)
		require.Zero(t, code, errs)
		return strings.Join(strings.Fields(out), " ")
	}
	for name, flags := range map[string][]string{
		"plain":   nil,
		"packing": {"--max-attempts", "-1", "--backoff-min", "5m", "--fifo"},
	} {
		_, errs, code := admin(append([]string{"create", name}, flags...)...)
		require.Zero(t, code, errs)
	}
	require.Contains(t, described("plain"), "plain work - 0 0 16 attempts, back-off 1s to 1m0s QUEUE")
	require.Contains(t, described("packing"), "packing work - 0 0 attempts without end, back-off 5m0s to 5m0s, fifo QUEUE")
	_, errs, code := admin("pause", "packing")
	require.Zero(t, code, errs)
	require.Contains(t, described("packing"), "packing work paused 0 0")
	out, errs, code := admin("describe", "packing", "-o", "json")
	require.Zero(t, code, errs)
	var d describedGroup
	require.NoError(t, json.Unmarshal([]byte(out), &d))
	require.Equal(t, &workPolicy{MaxAttempts: -1, BackoffMinMs: 300_000, BackoffMaxMs: 300_000, FIFO: true}, d.Work)

	for want, flags := range map[string][]string{
		"--max-attempts -7: want 1 or more, or -1 for never (exit 2, USAGE)":    {"--max-attempts", "-7"},
		"--max-attempts 0: want 1 or more, or -1 for never (exit 2, USAGE)":     {"--max-attempts", "0"},
		"--backoff-min 0s: want 1ms or more (exit 2, USAGE)":                    {"--backoff-min", "0s"},
		"--backoff-max 1m0s: want --backoff-min (5m0s) or more (exit 2, USAGE)": {"--backoff-min", "5m", "--backoff-max", "1m"},
		"max_attempts is 10001: at most 10000 are possible (exit 1":             {"--max-attempts", "10001"},
	} {
		_, errs, code := admin(append([]string{"create", "none"}, flags...)...)
		require.NotZero(t, code)
		require.Contains(t, errs, want)
	}
}
