package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// killOrders makes dead letters of six of the ten messages of orders.
func killOrders(t *testing.T, addr string) {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Config{Seeds: []string{addr}})
	require.NoError(t, err)
	defer c.Close()
	w, err := c.WorkConsumer(t.Context(), client.WorkConfig{
		Group: "packing", Topic: "orders", Policy: client.WorkPolicy{MaxAttempts: 1, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
	})
	require.NoError(t, err)
	defer w.Close()
	for seen := 0; seen < 10; {
		deliveries, err := w.Receive(t.Context(), 10)
		require.NoError(t, err)
		for _, d := range deliveries {
			if seen++; d.Offset < 6 {
				require.NoError(t, d.Nack(t.Context(), 0))
			} else {
				require.NoError(t, d.Ack(t.Context()))
			}
		}
	}
	require.Eventually(t, func() bool {
		page, err := c.Admin().DeadLetters(context.WithoutCancel(t.Context()), "packing", 0, 10, false)
		return err == nil && len(page.Letters) == 6
	}, time.Minute, 10*time.Millisecond)
}

func TestDeadLetterCommands(t *testing.T) {
	addr := serveOrders(t)
	admin := func(args ...string) (string, string, cli.ExitCode) {
		return run(t, append([]string{"admin", "--server", addr}, args...)...)
	}
	table := func(args ...string) string {
		out, errs, code := admin(args...)
		require.Zero(t, code, errs)
		return strings.Join(strings.Fields(out), " ")
	}
	require.Contains(t, table("group", "create", "packing", "--max-attempts", "1", "--backoff-min", "1ms"), "packing")
	killOrders(t, addr)
	require.Contains(t, table("group", "list"), "packing work 0 1 0 -")
	list := func(args ...string) (all []deadLetter) {
		out, errs, code := admin(append([]string{"dlq", "list", "packing", "-o", "json"}, args...)...)
		require.Zero(t, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &all))
		return all
	}
	all := list()
	require.Len(t, all, 6)
	require.Equal(t, []string{"orders", "0", "3", "1", "max attempts"}, []string{all[3].Topic, all[3].Queue, all[3].From, all[3].Attempts, all[3].Reason})
	require.Contains(t, table("dlq", "list", "packing", "-n", "1"), `0 orders/0@0 1 max attempts`)
	require.Empty(t, list("--topic", "other"))
	require.Empty(t, list("--to", "1h"))
	require.Len(t, list("--from", "1h", "--offset", "1,2,9"), 2)
	require.Contains(t, table("dlq", "show", "packing", "2"), "from orders/0@2 attempts 1")

	putBack := func(code cli.ExitCode, args ...string) (r redrive) {
		out, errs, got := admin(append([]string{"dlq", "redrive", "packing", "-o", "json"}, args...)...)
		require.Equal(t, code, got, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &r), "%s", out)
		return r
	}
	require.Equal(t, 6, putBack(0, "--all", "--dry-run").Redriven)
	require.Len(t, list(), 6)
	r := putBack(0, "--offset", "4", "--rate", "100/s")
	require.Equal(t, []int{1, 0, 0}, []int{r.Redriven, r.Before, r.Failed})
	require.Equal(t, int64(10), *r.Letters[0].NewOffset)
	require.Zero(t, putBack(0, "--offset", "4").Redriven, "it is not among those that are left")
	require.Equal(t, 5, putBack(0, "--all").Redriven)
	require.Empty(t, list())
	require.Len(t, list("--redriven"), 6)
	_, errs, code := admin("group", "delete", "packing")
	require.Zero(t, code, errs)
	require.Empty(t, list(), "the group is gone, and its dead letters are not")
	require.Len(t, list("--redriven"), 6)
	require.Zero(t, putBack(0, "--all").Redriven)
	require.Contains(t, table("topic", "describe", "orders"), "orders/0 0 16 16")

	for _, tc := range []struct {
		want string
		code cli.ExitCode
		args []string
	}{
		{"UNKNOWN_GROUP", cli.ExitNotFound, []string{"list", "none"}},
		{"has no dead letter 77", cli.ExitNotFound, []string{"show", "packing", "77"}},
		{"want a number", cli.ExitUsage, []string{"show", "packing", "x"}},
		{"or --all", cli.ExitUsage, []string{"redrive", "packing"}},
		{"--from 1h is not before --to 2h", cli.ExitUsage, []string{"list", "packing", "--from", "1h", "--to", "2h"}},
		{`--from: time "bogus": want such as`, cli.ExitUsage, []string{"redrive", "packing", "--from", "bogus"}},
		{"or --all", cli.ExitUsage, []string{"redrive", "packing", "--all", "--offset", "1"}},
	} {
		_, errs, code := admin(append([]string{"dlq"}, tc.args...)...)
		require.Equal(t, tc.code, code, fmt.Sprint(tc.args, errs))
		require.Contains(t, errs, tc.want)
	}
}

// TestRedriveOfATopicThatIsGone says so, for each, and leaves them where they are.
func TestRedriveOfATopicThatIsGone(t *testing.T) {
	addr := serveOrders(t)
	killOrders(t, addr)
	_, errs, code := run(t, "admin", "--server", addr, "topic", "delete", "orders")
	require.Zero(t, code, errs)
	out, errs, code := run(t, "admin", "--server", addr, "dlq", "redrive", "packing", "--all")
	require.Equal(t, cli.ExitPartial, code, errs)
	require.Contains(t, out, "UNKNOWN_TOPIC")
	require.Contains(t, errs, "6 of 6 could not be put back")
}

// TestRedriveOfNamedOffsets says of each what became of it, also where there is nothing to do.
func TestRedriveOfNamedOffsets(t *testing.T) {
	addr := serveOrders(t)
	killOrders(t, addr)
	at := func(n int64) *int64 { return &n }
	for _, tc := range []struct {
		offsets string
		code    cli.ExitCode
		want    redrive
	}{
		{"4", cli.ExitOK, redrive{Redriven: 1, Letters: []redriven{{Offset: 4, Topic: "orders", NewOffset: at(10)}}}},
		{"4", cli.ExitOK, redrive{Before: 1, Letters: []redriven{{Offset: 4, Topic: "orders", Before: true}}}},
		{"0,77,77,4", cli.ExitPartial, redrive{Redriven: 1, Before: 1, NotFound: 1, Letters: []redriven{
			{Offset: 0, Topic: "orders", NewOffset: at(11)}, {Offset: 4, Topic: "orders", Before: true}, {Offset: 77, NotFound: true},
		}}},
		{"77,78", cli.ExitNotFound, redrive{NotFound: 2, Letters: []redriven{{Offset: 77, NotFound: true}, {Offset: 78, NotFound: true}}}},
	} {
		out, errs, code := run(t, "admin", "--server", addr, "dlq", "redrive", "packing", "-o", "json", "--offset", tc.offsets)
		require.Equal(t, tc.code, code, errs)
		var got redrive
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		tc.want.Group = "packing"
		require.Equal(t, tc.want, got)
	}
	out, errs, code := run(t, "admin", "--server", addr, "dlq", "redrive", "packing", "--offset", "4,77")
	require.Equal(t, cli.ExitPartial, code)
	require.Contains(t, strings.Join(strings.Fields(out), " "), "4 orders/0 - put back before 77 - - there is no such dead letter")
	require.Contains(t, errs, "1 of 2 could not be put back")
}
