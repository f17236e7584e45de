package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
)

// holdings is what a data directory holds as `recover -o json` shows it.
type holdings struct {
	Member        string   `json:"member"`
	Data          string   `json:"data"`
	Term          int64    `json:"term"`
	BeginIndex    int64    `json:"begin_index"`
	EndIndex      int64    `json:"end_index"`
	EndTerm       int64    `json:"end_term"`
	AppliedIndex  int64    `json:"applied_index"`
	Proven        bool     `json:"proven"`
	Seat          string   `json:"seat"`
	Group         []string `json:"group"`
	GivenUp       []string `json:"given_up"`
	Generation    string   `json:"generation"`
	DamagedRanges int      `json:"damaged_ranges"`
	// Unfinished is the generation of a recovery that was cut short.
	Unfinished string `json:"unfinished,omitempty"`
	// Recovered is the generation that this command has made; empty: it only looked.
	Recovered string `json:"recovered,omitempty"`
}

func toHoldings(h *broker.Holdings, data string) holdings {
	out := holdings{
		Member: string(h.ID), Data: data, Term: int64(h.Term), BeginIndex: int64(h.Begin), EndIndex: int64(h.End), EndTerm: int64(h.EndTerm),
		AppliedIndex: int64(h.Applied), Proven: h.Proven, Seat: h.Seat, Generation: h.Generation, DamagedRanges: len(h.Faulty), GivenUp: []string{}, Group: []string{},
	}
	for _, id := range h.GivenUp() {
		out.GivenUp = append(out.GivenUp, string(id))
	}
	for _, s := range h.Group {
		out.Group = append(out.Group, string(s.ID))
	}
	if h.Unfinished != nil {
		out.Unfinished = h.Unfinished.Generation
	}
	return out
}

// confirmFlag must be given with the ids of the members that are given up.
const confirmFlag = "yes-i-know-that-a-majority-is-gone"

func newRecover(streams cli.Streams) *cobra.Command {
	var confirmed []string
	var reason string
	output := cli.NewOutput()
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on with one data directory when a majority is gone for good (offline)",
		Long: `Make the stopped broker of one data directory the only member of its group, because
a majority of the members is gone for good and nothing else can bring the group back.

WHAT IT COSTS: what this directory lacks is lost, also if it was acknowledged. What it
holds counts from then on, also if it never was. Without the flag
--` + confirmFlag + ` it only shows what the directory holds: compare
all that are left, and recover on the one with the highest end term, then end index.

The members that are given up are refused for ever with the directories that they had:
remove those, and add the members anew. See docs/runbooks/majority-lost.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := flags.load()
			if err != nil {
				return err
			}
			h, err := broker.Inspect(*cfg)
			if err != nil {
				return recoverError(err)
			}
			shown := toHoldings(h, cfg.WithDefaults().Node.Data)
			if len(confirmed) == 0 {
				return showHoldings(streams, output.Value, shown, h, nil)
			}
			record, err := broker.Recover(*cfg, confirmed, reason)
			if err != nil {
				return recoverError(fmt.Errorf("nothing was recovered: %w", err))
			}
			shown.Recovered = record.Generation
			return showHoldings(streams, output.Value, shown, h, &record)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().StringSliceVar(&confirmed, confirmFlag, nil, "do it; the value names every member that is given up, ID,ID,..")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept for ever")
	cmd.Flags().VarP(&output, "output", "o", "how to print")
	return cmd
}

// recoverError gives a refusal its exit code and stable code.
func recoverError(err error) error {
	if errors.Is(err, broker.ErrDataDir) {
		return startError(err)
	}
	return &cli.Error{Exit: cli.ExitFailed, Code: "RECOVER_REFUSED", Err: err}
}

// showHoldings prints what is there and what to do next, or what was done.
func showHoldings(streams cli.Streams, format string, shown holdings, h *broker.Holdings, done *broker.Recovery) error {
	if format == "json" {
		return cli.PrintJSON(streams.Out, shown)
	}
	rows := [][]any{
		{"member", shown.Member + " (" + shown.Seat + ")"},
		{"data directory", shown.Data},
		{"group", strings.Join(shown.Group, ", ")},
		{"ledger", fmt.Sprintf("entries %d to %d, the last one of term %d", shown.BeginIndex, shown.EndIndex, shown.EndTerm)},
		{"known to be committed", fmt.Sprintf("up to %d%s", shown.AppliedIndex, because(h.StateTrouble))},
		{"term", shown.Term},
		{"generation", orNone(shown.Generation)},
	}
	if !shown.Proven {
		rows = append(rows, []any{"WARNING", "this directory was never brought up to date: it may lack anything"})
	}
	if h.LeftBehind != "" {
		rows = append(rows, []any{"WARNING", "this directory was given up by a recovery; if that group lives, do not recover this one: " + h.LeftBehind})
	}
	for _, f := range h.Faulty {
		rows = append(rows, []any{"DAMAGED", fmt.Sprintf("entries %d to %d: %s", f.First, f.Last, f.Why)})
	}
	if err := cli.PrintTable(streams.Out, []any{"what", "here"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(streams.Out, nextStep(shown, done))
	return err
}

func nextStep(shown holdings, done *broker.Recovery) string {
	switch {
	case done != nil:
		return fmt.Sprintf("\nRecovered at %s: generation %s, group %s. Start the broker. Given up for ever, with the directories that they had: %s.",
			done.Time.Format(time.RFC3339), done.Generation, shown.Member, strings.Join(shown.GivenUp, ", "))
	case shown.Unfinished != "":
		return fmt.Sprintf("\nA recovery was cut short (generation %s). To finish it:\n  broker recover ... --%s %s", shown.Unfinished, confirmFlag, strings.Join(shown.GivenUp, ","))
	case len(shown.GivenUp) == 0 || !slices.Contains(shown.Group, shown.Member):
		return "\nNothing can be recovered here: see the group above."
	}
	return fmt.Sprintf("\nNothing was changed. To go on with this directory alone, and give up %s for ever:\n  broker recover ... --%s %s --reason 'WHY'",
		strings.Join(shown.GivenUp, ", "), confirmFlag, strings.Join(shown.GivenUp, ","))
}

func because(trouble string) string {
	if trouble == "" {
		return ""
	}
	return " (the state cannot be read: " + trouble + ")"
}

func orNone(text string) string {
	if text == "" {
		return "none: never recovered"
	}
	return text
}
