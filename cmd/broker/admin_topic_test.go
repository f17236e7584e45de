package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

func TestTopicCommands(t *testing.T) {
	addr := serveOrders(t)
	admin := func(args ...string) (string, string, cli.ExitCode) {
		return run(t, append([]string{"admin", "topic", "--server", addr}, args...)...)
	}
	table := func(args ...string) string {
		out, errs, code := admin(args...)
		require.Zero(t, code, errs)
		return strings.Join(strings.Fields(out), " ")
	}
	described := func(name string) (d topic) {
		out, errs, code := admin("describe", name, "-o", "json")
		require.Zero(t, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &d))
		return d
	}
	require.Equal(t, "TOPIC QUEUES TYPE KEPT mail 2 FIFO 168h0m0s, 1000 messages",
		table("create", "mail", "--queues", "2", "--type", "fifo", "--retention", "168h", "--retention-messages", "1k", "--max-message-bytes", "4096"))
	require.Equal(t, settings{"FIFO", 4096, (168 * time.Hour).Milliseconds(), 1_000, false}, described("mail").Settings)
	require.Equal(t, "TOPIC QUEUES TYPE KEPT mail 5 FIFO 168h0m0s", table("alter", "mail", "--queues", "5", "--retention-messages", "0"))
	d := described("mail")
	require.Len(t, d.Queues, 5)
	require.Equal(t, 4096, d.Settings.MaxMessageBytes, "what is not named stays")
	require.Empty(t, d.Groups)
	require.Equal(t, []string{"billing"}, described("orders").Groups)
	about := table("describe", "orders")
	require.Contains(t, about, "orders MIXED as the ledger as the brokers say")
	require.Contains(t, about, "billing")
	require.Contains(t, about, "orders/0 0 10 10")

	_, errs, code := admin("trim", "orders", "--to", "4", "--dry-run")
	require.Zero(t, code)
	require.Equal(t, "dry run: nothing was changed\n", errs)
	require.Zero(t, described("orders").Queues[0].First)
	require.Equal(t, "QUEUE FIRST BEFORE FIRST END DELETED orders/0 0 4 10 4", table("trim", "orders", "--to", "4"))
	require.Contains(t, table("trim", "orders", "--before", "1h"), "orders/0 4 4 10 0")
	require.Contains(t, table("trim", "orders", "--to", "end", "--queue", "0"), "orders/0 4 10 10 6")

	began := time.Now()
	deleted := table("delete", "orders")
	days := []string{began.Add(time.Hour).Format(time.DateOnly), time.Now().Add(time.Hour).Format(time.DateOnly)} // around midnight
	require.Contains(t, []string{"DELETED UNDELETE UNTIL orders " + days[0], "DELETED UNDELETE UNTIL orders " + days[1]}, deleted[:len("DELETED UNDELETE UNTIL orders ")+len(days[0])])
	require.NotContains(t, table("list"), "orders")
	require.Contains(t, table("list", "--deleted"), "orders 1 MIXED as the ledger")
	require.Contains(t, table("undelete", "orders"), "orders 1 MIXED")
	require.Equal(t, queue{0, 10, 10, 0}, described("orders").Queues[0])
	require.Contains(t, table("delete", "mail", "--grace", "5m"), "mail")
	require.Equal(t, "DELETED UNDELETE UNTIL mail gone", table("delete", "mail", "--now"))
	var all []listed
	out, _, _ := admin("list", "--deleted", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &all))
	require.Len(t, all, 1)
	require.Nil(t, all[0].UndeleteUntil)
}

func TestTopicCommandsThatAreRefused(t *testing.T) {
	addr := serveOrders(t)
	admin := func(args ...string) (string, string, cli.ExitCode) {
		return run(t, append([]string{"admin", "topic", "--server", addr}, args...)...)
	}
	for _, args := range [][]string{{"delete", "orders"}, {"create", "x", "--queues", "2"}} {
		_, errs, code := admin(args...)
		require.Zero(t, code, errs)
	}
	for _, tc := range []struct {
		want string
		code cli.ExitCode
		args []string
	}{
		{"TOPIC_DELETED", cli.ExitNotFound, []string{"describe", "orders"}},
		{"TOPIC_DELETED", cli.ExitFailed, []string{"create", "orders"}},
		{"UNKNOWN_TOPIC", cli.ExitNotFound, []string{"undelete", "mail"}},
		{"INVALID_TOPIC_NAME", cli.ExitUsage, []string{"create", "%DLQ%x"}},
		{"INVALID_TOPIC_SETTINGS", cli.ExitUsage, []string{"create", "y", "--max-message-bytes", "7"}},
		{"want MIXED, NORMAL", cli.ExitUsage, []string{"create", "x", "--type", "fast"}},
		{"retention is 10ms: 0, or 1s to 876000h are possible", cli.ExitUsage, []string{"create", "y", "--retention", "10ms"}},
		{"Retention is -1h0m0s: 0, or 1s to 876000h (100 years), are possible", cli.ExitUsage, []string{"alter", "x", "--retention", "-1h"}},
		{"MaxMessageBytes is -1: 0, or 1024 to limits.max_batch_bytes", cli.ExitUsage, []string{"alter", "x", "--max-message-bytes", "-1"}},
		{"a grace of 800h asked for, 0 to 720h are possible", cli.ExitFailed, []string{"delete", "x", "--grace", "800h"}},
		{"cannot have 0 queues: 1 or more, and no more than limits.max_queues_per_topic of the brokers (1024 by default)", cli.ExitUsage, []string{"create", "y", "--queues", "0"}},
		{"a topic has 1 to 1024 queues (limits.max_queues_per_topic), not 1025", cli.ExitFailed, []string{"create", "y", "--queues", "1025"}},
		{"nothing to change", cli.ExitUsage, []string{"alter", "x"}},
		{"want --to or --before", cli.ExitUsage, []string{"trim", "x"}},
		{"name it with --queue", cli.ExitUsage, []string{"trim", "x", "--to", "3"}},
		{"OFFSET_TOO_HIGH", cli.ExitNotFound, []string{"trim", "x", "--to", "3", "--queue", "1"}},
		{"has queues 0 to 1, not 2", cli.ExitNotFound, []string{"trim", "x", "--to", "end", "--queue", "2"}},
		{"--grace takes a time of 1ms or more", cli.ExitUsage, []string{"delete", "x", "--grace", "100us"}},
		{"--now is without a grace", cli.ExitUsage, []string{"delete", "x", "--now", "--grace", "1h"}},
	} {
		_, errs, code := admin(tc.args...)
		require.Equal(t, tc.code, code, errs)
		require.Contains(t, errs, tc.want)
	}
}

// TestHelpShowsTrueDefaults: none where the topic, or the brokers, say what it is.
func TestHelpShowsTrueDefaults(t *testing.T) {
	for command, want := range map[string][2]string{
		"alter":  {"TRANSACTION\n", "(default"},
		"delete": {"default as the brokers say\n", "(default"},
	} {
		out, _, code := run(t, "admin", "topic", command, "--help")
		require.Zero(t, code)
		own, _, found := strings.Cut(out, "Global Flags:")
		require.True(t, found)
		require.Contains(t, own, want[0])
		require.NotContains(t, own, want[1])
	}
}
