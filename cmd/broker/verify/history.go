// Package verify holds the commands of `broker verify`: they judge, and say what
// they found in their exit code.
package verify

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// verdict is what `broker verify history -o json` prints.
type verdict struct {
	OK         bool `json:"ok"`
	Operations int  `json:"operations"`
	history.Report
}

// NewHistory builds `broker verify history`.
func NewHistory(streams cli.Streams) *cobra.Command {
	output := cli.NewOutput()
	var options history.Options
	cmd := &cobra.Command{
		Use:   "history FILE...",
		Short: "Look for lost, doubled, reordered and made-up messages in histories",
		Long: `Read files of what clients saw (docs/format/history.md), all of one run and with one
clock, and report every anomaly: acknowledged messages that are lost, doubled,
misplaced or out of order, messages that nobody sent, members whose copies differ,
consumer groups that go back or miss something, messages before their time, halves
of transactions, and work that is done twice or not at all.

Exit code 0: no anomaly, and every acknowledged message was looked for; 3: no
anomaly, but some were not looked for; 7: anomalies. A FILE of - is the input.`,
		Example: `  broker verify history run.jsonl
  broker verify history producers.jsonl consumers.jsonl -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			v, err := judge(options, streams.In, files)
			if err != nil {
				return &cli.Error{Exit: cli.ExitFailed, Code: "BAD_HISTORY", Err: err}
			}
			if output.Value == "json" {
				err = cli.PrintJSON(streams.Out, v)
			} else {
				err = v.print(streams.Out)
			}
			if err != nil {
				return err
			}
			return v.err()
		},
	}
	cmd.Flags().BoolVar(&options.Retention, "retention", false, "old messages may be gone: do not miss what is below the first offset of the copies")
	cmd.Flags().VarP(&output, "output", "o", "how to print")
	return cmd
}

// judge reads all files as one history.
func judge(options history.Options, stdin io.Reader, files []string) (verdict, error) {
	checker := history.NewChecker(options)
	for _, name := range files {
		if err := add(checker, stdin, name); err != nil {
			return verdict{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	report := checker.Report()
	return verdict{report.Clean(), checker.Ops(), report}, nil
}

func add(checker *history.Checker, stdin io.Reader, name string) error {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		from = file
	}
	reader := history.NewReader(from)
	for {
		o, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := checker.Add(o); err != nil {
			return fmt.Errorf("line %d: %w", reader.Line(), err)
		}
	}
}

func (v verdict) print(w io.Writer) error {
	var rows [][]any
	for _, class := range history.Classes() {
		if n := v.Anomalies[class]; n > 0 {
			rows = append(rows, []any{class, n})
		}
	}
	if len(rows) > 0 {
		if err := cli.PrintTable(w, []any{"anomaly", "count"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
		for _, a := range v.Examples {
			fmt.Fprintln(w, a)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d operations: %d sends acknowledged, %d failed, %d unknown (%d of them stored); %d messages pulled, %d drained from %d members' copies; %d acknowledged and not looked for\n",
		v.Operations, v.Acked, v.Failed, v.Info, v.InfoFound, v.Pulled, v.Drained, v.Copies, v.Unjudged)
	fmt.Fprintf(w, "%d delayed sends acknowledged, %d of them recalled; %d transactions committed, %d rolled back; %d messages received as work; %d hand-overs of queues, %d messages given again to consumer groups\n",
		v.Delayed, v.Recalled, v.Committed, v.RolledBack, v.Received, v.HandOvers, v.Again)
	_, err := fmt.Fprintf(w, "history: %d lost, %d doubled, %d out of order, %d phantom, %d other\n", v.Lost(), v.Doubled(), v.OutOfOrder(), v.Phantoms(), v.Other())
	return err
}

// err gives the verdict its exit code.
func (v verdict) err() error {
	switch {
	case !v.OK:
		return &cli.Error{Exit: cli.ExitVerification, Code: "HISTORY_ANOMALIES", Err: errors.New("verify: the history holds what must not happen; keep it, and report it")}
	case v.Operations == 0 || v.Unjudged > 0:
		return &cli.Error{Exit: cli.ExitPartial, Code: "HISTORY_UNJUDGED", Err: fmt.Errorf("verify: no anomaly among %d operations, but %d acknowledged messages were not looked for", v.Operations, v.Unjudged)}
	}
	return nil
}
