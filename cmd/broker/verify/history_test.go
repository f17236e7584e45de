package verify

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

const (
	head  = `{"format":"ledgermq-history","version":1}` + "\n"
	sends = head +
		`{"client":"P","op":"send","topic":"t","value":"a","invoke":0,"complete":1,"outcome":"ok","offset":0}` + "\n" +
		`{"client":"P","op":"send","topic":"t","value":"b","invoke":2,"complete":3,"outcome":"ok","offset":1}` + "\n"
	whole = head + `{"client":"d","op":"drain","topic":"t","member":"n1","first":0,"end":2,"invoke":9,"complete":10,"outcome":"ok","messages":[[0,"a"],[1,"b"]]}` + "\n"
	short = head + `{"client":"d","op":"drain","topic":"t","member":"n1","first":0,"end":1,"invoke":9,"complete":10,"outcome":"ok","messages":[[0,"a"]]}` + "\n"
)

func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, code cli.ExitCode) {
	t.Helper()
	var out, errs bytes.Buffer
	streams := cli.Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs}
	code = cli.Execute(t.Context(), NewHistory(streams), args, streams)
	return out.String(), errs.String(), code
}

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sent, all, cut := file("sends.jsonl", sends), file("whole.jsonl", whole), file("short.jsonl", short)
	for _, test := range []struct {
		name  string
		stdin string
		args  []string
		code  cli.ExitCode
		want  string
	}{
		{"clean", "", []string{sent, all}, 0, "history: 0 lost, 0 doubled, 0 out of order, 0 phantom, 0 other"},
		{"clean from the input", whole, []string{"-", sent}, 0, "2 sends acknowledged"},
		{"lost", "", []string{sent, cut}, 7, "history: 1 lost"},
		{"its class", "", []string{sent, cut}, 7, "lost-postfix      1\n"},
		{"an example", "", []string{sent, cut}, 7, "t/0 offset 1 b: acknowledged to P, and not there"},
		{"the code", "", []string{sent, cut}, 7, "(exit 7, HISTORY_ANOMALIES)"},
		{"the class of a delayed one", head + `{"client":"P","op":"send","topic":"t","value":"a","due":50,"invoke":0,"complete":1,"outcome":"ok"}` + "\n" +
			`{"client":"c","op":"pull","topic":"t","invoke":2,"complete":3,"outcome":"ok","messages":[[0,"a"]]}` + "\n", []string{"-"}, 7, "early: t/0 offset 0 a: read 47 ns before its time"},
		{"what waits is counted", head + `{"client":"P","op":"end","topic":"t","transaction":"x","invoke":0,"complete":1,"outcome":"ok"}` + "\n", []string{"-"}, 0, "0 transactions committed, 1 rolled back"},
		{"nobody looked", "", []string{sent}, 3, "(exit 3, HISTORY_UNJUDGED)"},
		{"nothing in it", "", []string{file("empty.jsonl", head)}, 3, "(exit 3, HISTORY_UNJUDGED)"},
		{"not a history", "", []string{file("not.jsonl", "{}\n")}, 1, "line 1: not a history"},
		{"twice the same", "", []string{sent, sent}, 1, `line 2: check history: value "a" is sent twice`},
		{"no file", "", []string{filepath.Join(dir, "none")}, 1, "no such file"},
		{"no argument", "", nil, 2, "(exit 2, USAGE)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, errs, code := run(t, test.stdin, test.args...)
			if code != test.code || !strings.Contains(out+errs, test.want) {
				t.Errorf("exit %d, want %d and %q in\n%s%s", code, test.code, test.want, out, errs)
			}
		})
	}
}

func TestHistoryAsJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.jsonl")
	if err := os.WriteFile(path, []byte(sends+strings.TrimPrefix(short, head)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, code := run(t, "", path, "-o", "json")
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 7 || v.OK || v.Operations != 3 || v.Acked != 2 || v.Anomalies["lost-postfix"] != 1 || len(v.Examples) != 1 {
		t.Errorf("exit %d, %v:\n%s", code, err, out)
	}
}
