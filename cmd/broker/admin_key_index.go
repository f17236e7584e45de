package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

func newTopicKeyIndex(a *admin) *cobra.Command {
	return &cobra.Command{
		Use:   "key-index NAME on|off",
		Short: "Have messages found by key and id without a scan, from now on, or drop that index",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return cli.Usagef("%q: want on or off", args[1])
			}
			return a.with(cmd.Context(), func(ctx context.Context, admin *client.Admin) error {
				if err := admin.SetKeyIndex(ctx, args[0], args[1] == "on"); err != nil {
					return fmt.Errorf("topic %q: %w", args[0], err)
				}
				changed := struct {
					Topic    string `json:"topic"`
					KeyIndex bool   `json:"key_index"`
				}{args[0], args[1] == "on"}
				return a.print(changed, []any{"topic", "key index"}, [][]any{{args[0], args[1]}})
			})
		},
	}
}

// plain says whether the search is for a key or an id alone.
func (s *search) plain() bool {
	return s.tag == "" && s.filter == "" && (s.id == "") != (s.key == "") && s.count > 0
}

// keyIndexHint says what would make a search faster, and why one is not that fast where the
// index is there.
func keyIndexHint(ctx context.Context, admin *client.Admin, topic string) string {
	t, err := admin.DescribeTopic(ctx, topic)
	switch {
	case err != nil:
		return "" // the search has its answer
	case t.Settings.KeyIndex:
		return ": that of this topic was turned on after they had come"
	}
	return fmt.Sprintf(" (broker admin topic key-index %s on)", topic)
}

// findPlain finds messages by key or id where the brokers say they are.
func (a *admin) findPlain(ctx context.Context, c *client.Client, topic string, s *search) error {
	wanted := client.Search{Topic: topic, ID: s.id, From: s.between.from, To: s.between.to, Limit: s.count}
	if s.key != "" {
		wanted.Key = []byte(s.key)
	}
	found, err := c.Admin().Find(ctx, wanted)
	if err != nil {
		return err
	}
	if found.Scanned > 0 {
		_, _ = fmt.Fprintf(a.streams.Err, "%d messages were gone through, because no key index knows them%s\n", found.Scanned, keyIndexHint(ctx, c.Admin(), topic))
	}
	var messages []client.Message
	for _, at := range found.Messages {
		m, err := messageAt(ctx, c, topic, at.Queue, at.Offset)
		if err != nil {
			return err
		}
		messages = append(messages, *m)
	}
	if len(messages) == 0 {
		return cli.Exit(cli.ExitNotFound, fmt.Errorf("topic %q has no such message in what was looked at", topic))
	}
	return a.printMessages(messages, false)
}
