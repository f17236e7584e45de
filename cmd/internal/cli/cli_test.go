package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"pgregory.net/rapid"

	"github.com/ledgermq/ledgermq/pkg/client"
)

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		exit ExitCode
		text string
	}{
		{Usagef("bad flag"), ExitUsage, "p: bad flag (exit 2, USAGE)"},
		{errors.New("broken"), ExitFailed, "p: broken (exit 1)"},
		{fmt.Errorf("asking: %w", &client.Error{Code: client.CodeUnknownTopic, Node: "n1", Message: "no topic"}), ExitNotFound, "p: asking: n1: no topic (exit 4, UNKNOWN_TOPIC)"},
		{&client.Error{Code: client.CodePermissionDenied, Message: "no"}, ExitDenied, "p: no (exit 5, PERMISSION_DENIED)"},
		{&client.Error{Code: client.CodeNoLeader, Message: "none"}, ExitNoLeader, "p: none (exit 6, NO_LEADER)"},
		{&client.Error{Code: client.CodeInvalidFilter, Message: "bad"}, ExitUsage, "p: bad (exit 2, INVALID_FILTER)"},
		{&client.Error{Code: client.CodeInvalidHandle, Message: "bad"}, ExitUsage, "p: bad (exit 2, INVALID_HANDLE)"},
		{&client.Error{Code: client.CodeInvalidTopicChange, Message: "bad"}, ExitUsage, "p: bad (exit 2, INVALID_TOPIC_CHANGE)"},
		{&client.Error{Code: client.CodeDeliveryTooFar, Message: "far"}, ExitUsage, "p: far (exit 2, DELIVERY_TIME_TOO_FAR)"},
		{&client.Error{Code: client.CodeInvalidBatch, Message: "bad"}, ExitFailed, "p: bad (exit 1, INVALID_BATCH)"},
		{&client.Error{Code: client.CodeLimitExceeded, Message: "much"}, ExitFailed, "p: much (exit 1, LIMIT_EXCEEDED)"},
		{context.DeadlineExceeded, ExitNoLeader, "p: context deadline exceeded (exit 6)"},
		{&client.Error{Code: client.CodeSkipped, Message: "gap"}, ExitVerification, "p: gap (exit 7, SKIPPED)"},
		{context.Canceled, ExitInterrupted, "p: context canceled (exit 130)"},
	} {
		if got := ExitCodeOf(tc.err); got != tc.exit {
			t.Errorf("%v: exit %d, want %d", tc.err, got, tc.exit)
		}
		if got := Describe("p", tc.err); got != tc.text {
			t.Errorf("described as %q, want %q", got, tc.text)
		}
	}
	if ExitCodeOf(nil) != ExitOK {
		t.Error("no error is not 0")
	}
}

func TestExecute(t *testing.T) {
	for _, tc := range []struct {
		args []string
		exit ExitCode
		err  string
	}{
		{[]string{"ok"}, ExitOK, ""},
		{[]string{"ok", "--nope"}, ExitUsage, "unknown flag"},
		{[]string{"ok", "extra"}, ExitUsage, "unknown command"},
		{[]string{"fail"}, ExitFailed, "prog: it failed (exit 1)\n"},
		{[]string{"quiet"}, ExitPartial, ""},
	} {
		root := &cobra.Command{Use: "prog"}
		add := func(name string, err error) {
			root.AddCommand(&cobra.Command{Use: name, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return err }})
		}
		add("ok", nil)
		add("fail", errors.New("it failed"))
		add("quiet", Exit(ExitPartial, nil))
		var out, errs bytes.Buffer
		if got := Execute(t.Context(), root, tc.args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); got != tc.exit {
			t.Errorf("%v: exit %d, want %d", tc.args, got, tc.exit)
		}
		if !strings.Contains(errs.String(), tc.err) || tc.err == "" && errs.Len() > 0 {
			t.Errorf("%v: printed %q, want %q", tc.args, errs.String(), tc.err)
		}
	}
}

func TestSeeds(t *testing.T) {
	t.Setenv(ServerEnv, "")
	f := ServerFlags{}
	if s, err := f.Seeds(); err != nil || !cmp.Equal(s, []string{DefaultServer}) {
		t.Errorf("default: %v, %v", s, err)
	}
	t.Setenv(ServerEnv, "a:1, b:2")
	if s, err := f.Seeds(); err != nil || !cmp.Equal(s, []string{"a:1", "b:2"}) {
		t.Errorf("environment: %v, %v", s, err)
	}
	f.list = []string{"c:3"}
	if s, err := f.Seeds(); err != nil || !cmp.Equal(s, []string{"c:3"}) {
		t.Errorf("flag: %v, %v", s, err)
	}
	f.list = []string{"nonsense"}
	if _, err := f.Seeds(); ExitCodeOf(err) != ExitUsage {
		t.Errorf("nonsense: %v", err)
	}
}

func TestTLSFlags(t *testing.T) {
	if cfg, err := (&TLSFlags{}).Config(); cfg != nil || err != nil {
		t.Errorf("no flags: %v, %v", cfg, err)
	}
	for _, f := range []TLSFlags{{CA: "no such file"}, {Cert: "x"}, {Cert: "x", Key: "y"}} {
		if _, err := f.Config(); ExitCodeOf(err) != ExitUsage {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	var c Count
	var r Rate
	var b Bytes
	for _, err := range []error{c.Set("2.5k"), r.Set("5k/s"), b.Set("64KiB")} {
		if err != nil {
			t.Error(err)
		}
	}
	if c != 2500 || r != 5000 || b != 64<<10 {
		t.Errorf("%d %d %d", c, r, b)
	}
	for _, err := range []error{c.Set("-1"), c.Set("x"), r.Set("0"), b.Set("1 parsec")} {
		if err == nil {
			t.Error("nonsense was taken")
		}
	}
	o := NewOutput()
	if o.Value != "table" || o.Set("json") != nil || o.Set("xml") == nil || o.Type() != "table|json" {
		t.Errorf("output flag: %+v", o)
	}
}

// TestJSONIsExact: whatever a message holds, a line of JSON brings it back.
func TestJSONIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		line, err := json.Marshal(ToJSON(&m))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(line, '\n') >= 0 {
			t.Fatalf("more than one line: %q", line)
		}
		got, err := FromJSON(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got.Timestamp.UnixMilli() != m.Timestamp.UnixMilli() {
			t.Fatalf("timestamp %v, want %v", got.Timestamp, m.Timestamp)
		}
		got.Timestamp = m.Timestamp
		if diff := cmp.Diff(m, got); diff != "" {
			t.Fatalf("%s\n(-want +got):\n%s", line, diff)
		}
	})
}

func drawMessage(t *rapid.T) client.Message {
	anyBytes := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }))
	m := client.Message{Value: anyBytes.Draw(t, "value"), Tag: rapid.String().Draw(t, "tag"), MessageGroup: rapid.String().Draw(t, "message group")}
	if rapid.Bool().Draw(t, "has key") {
		m.Key = anyBytes.Draw(t, "key")
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		m.Headers = append(m.Headers, client.Header{Key: rapid.String().Draw(t, "header"), Value: anyBytes.Draw(t, "header value")})
	}
	queue := rapid.IntRange(0, 9).Draw(t, "queue")
	m.Queue = &queue
	return m
}

func TestFromJSONRefuses(t *testing.T) {
	for _, line := range []string{``, `{}`, `[]`, `{"value":"a"} x`, `{"value":"a","valu":"b"}`, `{"value":"a","value_base64":"YQ=="}`, `{"value_base64":"*"}`} {
		if m, err := FromJSON([]byte(line)); err == nil {
			t.Errorf("%s gave %+v", line, m)
		}
	}
}
