package main

import (
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// TestFields: key, tag and headers of the command line are for messages that bring none,
// whatever the input is.
func TestFields(t *testing.T) {
	s := startServer(t, map[string]int{"lines": 4, "raw": 1, "json": 1})
	all := []string{"--key", "anna", "--tag", "paid", "-H", "region=EU", "--header", "note=a=b"}
	for _, tc := range []struct {
		topic, stdin string
		args         []string
	}{
		{"lines", "1\n2\n", nil},
		{"raw", "1\n2\n", []string{"-i", "raw"}},
		{"json", `{"value":"1"}` + "\n" + `{"value":"2","key":"bob","tag":"open","headers":[{"key":"own","value":"x"}]}`, []string{"-i", "jsonl"}},
	} {
		if got := s.Command(tc.stdin, append(append([]string{tc.topic}, tc.args...), all...)...); got.Exit != cli.ExitOK {
			t.Fatal(tc.topic, got)
		}
		queues := 0
		for _, messages := range s.consume(tc.topic) {
			if len(messages) > 0 {
				queues++
			}
			for _, m := range messages {
				if tc.topic == "json" && string(m.Value) == "2" {
					if string(m.Key) != "bob" || m.Tag != "open" || len(m.Headers) != 1 || m.Headers[0].Key != "own" {
						t.Errorf("%s: %+v", tc.topic, m)
					}
					continue
				}
				if string(m.Key) != "anna" || m.Tag != "paid" || len(m.Headers) != 2 || string(m.Headers[0].Value) != "EU" || string(m.Headers[1].Value) != "a=b" {
					t.Errorf("%s: %+v", tc.topic, m)
				}
			}
		}
		if queues != 1 {
			t.Errorf("%s: one key is in %d queues", tc.topic, queues)
		}
	}
	for text, args := range map[string][]string{
		"--header oops: want NAME=VALUE":                 {"lines", "-H", "oops"},
		"--key and --key-delimiter say the same thing":   {"lines", "--key", "a", "--key-delimiter", "="},
		"--bench makes its own messages, without --key,": {"lines", "--bench", "--tag", "a"},
	} {
		if got := s.Command("x", args...); got.Exit != cli.ExitUsage || !strings.Contains(got.Err, text) {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
