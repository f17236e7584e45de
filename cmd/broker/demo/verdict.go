package demo

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// verdict is what a demo has shown; `-o json` prints it.
type verdict struct {
	OK bool `json:"ok"`
	counts
	Seconds   float64     `json:"seconds"`
	Failovers []failover  `json:"failovers"`
	Ack       percentiles `json:"ack_ms"`
	// MembersAgree is set when all three brokers ended with one ledger: equal
	// rolling CRCs at equal indexes.
	MembersAgree bool `json:"members_agree"`
	// Fault is what ended the demo early, if anything did.
	Fault string `json:"fault,omitempty"`
}

// percentiles are acknowledgement latencies in milliseconds.
type percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func percentilesOf(h *hdrhistogram.Histogram) percentiles {
	return percentiles{
		P50: float64(h.ValueAtQuantile(50)) / 1000,
		P99: float64(h.ValueAtQuantile(99)) / 1000,
		Max: float64(h.Max()) / 1000,
	}
}

// err gives the verdict its exit code.
func (v verdict) err() error {
	switch {
	case !v.clean() || !v.MembersAgree && v.Fault == "":
		return &cli.Error{Exit: cli.ExitVerification, Code: "VERIFICATION_FAILED", Err: errors.New("demo: messages were lost, doubled or reordered, or the brokers disagree; this must not happen")}
	case v.Fault != "":
		return &cli.Error{Exit: cli.ExitFailed, Code: "DEMO_FAILED", Err: errors.New("demo: " + v.Fault)}
	case v.Unacked > 0:
		return &cli.Error{Exit: cli.ExitPartial, Code: "UNACKED", Err: fmt.Errorf("demo: %d messages were not acknowledged", v.Unacked)}
	}
	return nil
}

func (v verdict) print(w io.Writer) {
	fmt.Fprintf(w, "\nfailovers: %d in %v\n", len(v.Failovers), (time.Duration(v.Seconds*10) * 100 * time.Millisecond).String())
	for i, f := range v.Failovers {
		fmt.Fprintf(w, "  %d  %s\n", i+1, f)
	}
	fmt.Fprintf(w, "ack p50 %.1f ms, p99 %.1f ms, longest %.1f ms\n", v.Ack.P50, v.Ack.P99, v.Ack.Max)
	fmt.Fprintln(w, books(v.counts))
	switch {
	case v.OK:
		fmt.Fprintln(w, "OK: every acknowledged message was consumed once and in order, and the three ledgers are equal")
	case v.Fault != "":
		fmt.Fprintln(w, "FAILED:", v.Fault)
	default:
		fmt.Fprintf(w, "FAILED: lost %d, duplicated %d, out of order %d, never published %d, not acknowledged %d, ledgers equal: %v\n",
			v.Lost, v.Duplicated, v.OutOfOrder, v.Phantom, v.Unacked, v.MembersAgree)
	}
}
