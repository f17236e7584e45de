package main

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// TestGroupResetForms goes through all the places to which a group can be set: the dry run
// tells what the reset then does, and changes nothing itself.
func TestGroupResetForms(t *testing.T) {
	began := time.Now()
	addr := serveOrders(t) // ten messages, billing is at 4
	c, err := client.Dial(t.Context(), client.Config{Seeds: []string{addr}})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Admin().CreateTopic(t.Context(), "other", 2)
	require.NoError(t, err)
	reset := func(group string, args ...string) resetDone {
		out, errs, code := run(t, append([]string{"admin", "--server", addr, "group", "reset", group, "-o", "json"}, args...)...)
		require.Zero(t, code, errs)
		var done resetDone
		require.NoError(t, json.Unmarshal([]byte(out), &done))
		return done
	}
	at := func(group string) (offsets []int64) {
		d, err := c.Admin().DescribeGroup(t.Context(), group)
		require.NoError(t, err)
		for _, q := range d.QueueList {
			offsets = append(offsets, q.Offset)
		}
		return offsets
	}
	future, past := time.Now().Add(time.Hour).Format(time.RFC3339), began.Add(-time.Hour).Format(time.RFC3339)
	before := int64(4)
	for _, tc := range []struct {
		args  []string
		after int64
	}{
		{[]string{"--to", "earliest"}, 0},
		{[]string{"--to", "latest"}, 10},
		{[]string{"--to", "@7"}, 7},
		{[]string{"--to", "@700"}, 10}, // moved into what the queue has
		{[]string{"--to", past}, 0},
		{[]string{"--to", future}, 10},
		{[]string{"--to", "1h"}, 0},
		{[]string{"--shift", "6"}, 6},
		{[]string{"--shift", "-2", "--topic", "orders"}, 4},
		{[]string{"--shift", "-100"}, 0},
		{[]string{"--shift", "100", "--topic", "orders", "--queue", "0"}, 10},
	} {
		want := []queueReset{{Topic: "orders", Before: before, After: tc.after, End: 10}}
		dry := reset("billing", append(slices.Clone(tc.args), "--dry-run")...)
		require.Equal(t, resetDone{Group: "billing", DryRun: true, Queues: want}, dry, "%v", tc.args)
		require.Equal(t, []int64{before}, at("billing"), "a dry run of %v has changed something", tc.args)
		require.Equal(t, resetDone{Group: "billing", Queues: want}, reset("billing", tc.args...), "%v", tc.args)
		require.Equal(t, []int64{tc.after}, at("billing"), "%v", tc.args)
		before = tc.after
	}
}

// TestGroupResetLikeAnother: a group takes over the places of another one, also where it
// was nowhere; a topic that it has not begun can be named.
func TestGroupResetLikeAnother(t *testing.T) {
	addr := serveOrders(t)
	c, err := client.Dial(t.Context(), client.Config{Seeds: []string{addr}})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Admin().CreateTopic(t.Context(), "other", 2)
	require.NoError(t, err)
	member, err := c.GroupConsumer(t.Context(), client.GroupConfig{Group: "audit", Topic: "other"})
	require.NoError(t, err)
	for len(member.Queues()) < 2 { // it has begun there, and nowhere else
		_, _, err := member.TryNext(t.Context())
		require.NoError(t, err)
		soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_ = member.Await(soon)
		cancel()
	}
	require.NoError(t, member.Close(t.Context()))
	group := func(args ...string) (string, string, cli.ExitCode) {
		return run(t, append([]string{"admin", "--server", addr, "group", "reset", "-o", "json"}, args...)...)
	}
	parsed := func(args ...string) (done resetDone) {
		out, errs, code := group(args...)
		require.Zero(t, code, errs)
		require.NoError(t, json.Unmarshal([]byte(out), &done))
		return done
	}
	want := []queueReset{{Topic: "orders", Before: -1, After: 4, End: 10}}
	require.Equal(t, want, parsed("audit", "--like", "billing", "--dry-run").Queues)
	d, err := c.Admin().DescribeGroup(t.Context(), "audit")
	require.NoError(t, err)
	require.Len(t, d.QueueList, 2)
	require.Equal(t, want, parsed("audit", "--like", "billing").Queues)
	require.Equal(t, []queueReset{{Topic: "other"}, {Topic: "other", Queue: 1}}, parsed("audit", "--to", "latest", "--topic", "other").Queues)
	d, err = c.Admin().DescribeGroup(t.Context(), "audit")
	require.NoError(t, err)
	require.Len(t, d.QueueList, 3)
	require.Empty(t, parsed("audit", "--shift", "1", "--topic", "other", "--queue", "1", "--dry-run").Queues[0].After, "an empty queue has nowhere to go")
	for want, args := range map[string][]string{
		"UNKNOWN_GROUP": {"audit", "--like", "nobody"}, "UNKNOWN_TOPIC": {"audit", "--to", "latest", "--topic", "nowhere"},
		"UNKNOWN_QUEUE": {"audit", "--to", "latest", "--topic", "other", "--queue", "7"},
	} {
		_, errs, code := group(args...)
		require.NotZero(t, code)
		require.Contains(t, errs, want)
	}
}
