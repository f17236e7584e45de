package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/broker/config"
	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
)

func TestMain(m *testing.M) {
	for _, v := range os.Environ() { // of whoever runs the tests
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, config.EnvPrefix) {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

// run runs a command line and returns what it printed and its exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code cli.ExitCode) {
	t.Helper()
	var out, errs bytes.Buffer
	streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	code = cli.Execute(t.Context(), newRoot(streams), args, streams)
	return out.String(), errs.String(), code
}

func TestWrongCommandLines(t *testing.T) {
	dir := t.TempDir()
	typo := filepath.Join(dir, "broker.yaml")
	if err := os.WriteFile(typo, []byte("raft:\n  heartbeet: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code cli.ExitCode
		want string
	}{
		{"no such command", []string{"serv"}, 2, `unknown command "serv" for "broker" — did you mean "serve"? (exit 2, USAGE)`},
		{"no such subcommand", []string{"admin", "topic", "lst"}, 2, `unknown command "lst" for "broker admin topic" — did you mean "list"?`},
		{"no such flag", []string{"serve", "--dat", "x"}, 2, "unknown flag: --dat; see 'broker serve --help' (exit 2, USAGE)"},
		{"too many words", []string{"serve", "now"}, 2, "(exit 2, USAGE)"},
		{"missing word", []string{"admin", "topic", "create"}, 2, "(exit 2, USAGE)"},
		{"config typo", []string{"serve", "--config", typo}, 2, `broker.yaml:2:3: unknown key "heartbeet" under raft — did you mean "heartbeat"? (exit 2, CONFIG_UNKNOWN_KEY)`},
		{"no config file", []string{"config", "check", "--config", filepath.Join(dir, "none")}, 2, "cannot be read: no such file or directory (exit 2, CONFIG_FILE)"},
		{"bad flag value", []string{"config", "check", "--peers", "n1"}, 2, `flag --peers: "n1" is not NAME=VALUE (exit 2, CONFIG_INVALID_VALUE)`},
		{"not among the peers", []string{"config", "check", "--id", "n9", "--peers", "n1=a:1,n2=b:2,n3=c:3"}, 2, `cluster.peers has no "n9"`},
		{"plain text for everyone", []string{"serve", "--client-addr", "0.0.0.0:0"}, 2, "accept plain text with --insecure (exit 2, CONFIG_INVALID)"},
		{"no certificate", []string{"config", "check", "--client-tls-cert", "/nope", "--client-tls-key", "/nope"}, 2, "config: tls.client.cert: stat /nope: no such file or directory: name a PEM file that this process may read; tls.client.key: stat /nope: "},
		{"no certificate to serve with", []string{"serve", "--data", filepath.Join(dir, "untouched"), "--client-tls-cert", "/nope", "--client-tls-key", "/nope"}, 2, "may read (exit 2, CONFIG_INVALID)"},
		{"two listeners on one address", []string{"config", "check", "--client-addr", "127.0.0.1:9", "--http-addr", "127.0.0.1:9"}, 2, "are one address: give each a port of its own (exit 2, CONFIG_INVALID)"},
		{"nobody there", []string{"admin", "--server", "127.0.0.1:1", "--timeout", "300ms", "status"}, 6, "no broker reachable (127.0.0.1:1: "},
		{"no time", []string{"admin", "--timeout", "0s", "status"}, 2, "--timeout 0s: want a time above 0 (exit 2, USAGE)"},
		{"less than no time", []string{"admin", "--timeout", "-1s", "topic", "list"}, 2, "--timeout -1s: want a time above 0 (exit 2, USAGE)"},
		{"not a server", []string{"admin", "--server", "nonsense", "status"}, 2, `server "nonsense": want HOST:PORT`},
		{"nobody healthy", []string{"check", "ready", "--http-addr", "127.0.0.1:1"}, 1, "(exit 1, NOT_READY)"},
		{"demo too short", []string{"demo", "--every", "1s"}, 2, "--every is shorter than 3s"},
		{"nothing to recover", []string{"recover", "--data", filepath.Join(dir, "none")}, 2, "holds no IDENTITY file: it is nobody's. Nothing was changed"},
		{"joins nobody", []string{"config", "check", "--join"}, 2, "cluster.join needs cluster.peers"},
		{"member without an address", []string{"admin", "member", "add", "n4"}, 2, "(exit 2, USAGE)"},
		{"no such member command", []string{"admin", "member", "ad"}, 2, `did you mean "add"?`},
		{"unknown output", []string{"version", "-o", "xml"}, 2, "want one of table, json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, stderr, code := run(t, test.args...)
			if code != test.code || !strings.Contains(stderr, test.want) || !strings.HasPrefix(stderr, "broker: ") {
				t.Errorf("exit %d: %s\nwant exit %d and %q", code, stderr, test.code, test.want)
			}
			if strings.Count(stderr, "\n") != 1 {
				t.Errorf("not one line: %q", stderr)
			}
		})
	}
}

// TestGroupsOfCommandsDoNothingAlone: that is wrong usage, explained by the help. Asked for,
// the help is no error.
func TestGroupsOfCommandsDoNothingAlone(t *testing.T) {
	for _, group := range []string{"", "check", "verify", "config", "admin", "admin topic", "admin member", "admin group", "admin message", "admin dlq"} {
		args := strings.Fields(group)
		stdout, stderr, code := run(t, args...)
		tail := strings.Join(append([]string{"broker"}, args...), " ") + " does nothing alone: name one of its commands (exit 2, USAGE)\n"
		if code != cli.ExitUsage || stdout != "" || !strings.HasSuffix(stderr, tail) || !strings.Contains(stderr, "Available Commands:") {
			t.Errorf("broker %s: exit %d\n%s\n%s", group, code, stdout, stderr)
		}
		if stdout, stderr, code := run(t, append(args, "--help")...); code != cli.ExitOK || stderr != "" || !strings.Contains(stdout, "Available Commands:") {
			t.Errorf("broker %s --help: exit %d\n%s\n%s", group, code, stdout, stderr)
		}
	}
}

func TestHelpFitsAScreen(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"admin", "--help"}, {"demo", "--help"}, {"recover", "--help"}, {"admin", "member", "--help"}, {"config", "print", "--help"}} {
		stdout, _, code := run(t, args...)
		if n := strings.Count(stdout, "\n"); code != 0 || n > 48 {
			t.Errorf("broker %s: %d lines, exit %d", strings.Join(args, " "), n, code)
		}
	}
}

func TestConfigPrintNamesOrigins(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "broker.yaml")
	if err := os.WriteFile(file, []byte("raft:\n  heartbeat: 50ms\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := run(t, "config", "print", "-o", "json", "--config", file, "--id", "n2", "--peers", "n1=a:1,n2=b:2,n3=c:3", "--insecure")
	if code != 0 {
		t.Fatal(stderr)
	}
	var printed []printedSetting
	if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range printed {
		got[s.Key] = s.Value + " from " + s.Origin
	}
	for key, want := range map[string]string{
		"node.id":            "n2 from flag --id",
		"raft.heartbeat":     "50ms from broker.yaml:2",
		"listen.peer":        "b:2 from default",
		"insecure":           "true from flag --insecure",
		"cluster.peers":      "n1=a:1,n2=b:2,n3=c:3 from flag --peers",
		"durability.ack":     "quorum-fsync from default",
		"limits.ack_timeout": "10s from default",
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
}

// TestPrintedDefaultsAreAConfiguration reads back what `config print --defaults`
// writes for people to start from.
func TestPrintedDefaultsAreAConfiguration(t *testing.T) {
	stdout, stderr, code := run(t, "config", "print", "--defaults")
	if code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(file, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := run(t, "config", "check", "--config", file); code != 0 {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestConfigurationPage compares docs/configuration.md with the settings that
// there are, in both directions.
func TestConfigurationPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := broker.DefaultConfig()
	settings := config.Of(&defaults).All()
	for _, s := range settings {
		if descriptions[s.Path] == "" {
			t.Errorf("%s has no description", s.Path)
		}
		value := s.Value()
		if value != "" {
			value = "`" + value + "`"
		}
		row := fmt.Sprintf("| `%s` | `%s` | %s | %s |\n", s.Path, s.Env(), value, strings.ReplaceAll(descriptions[s.Path], "\n", " "))
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/configuration.md lacks the row\n%s", row)
		}
	}
	if rows := strings.Count(string(page), "` | `"+config.EnvPrefix); rows != len(settings) || len(descriptions) != len(settings) {
		t.Errorf("%d settings, %d rows in docs/configuration.md, %d descriptions", len(settings), rows, len(descriptions))
	}
}

func TestVersion(t *testing.T) {
	stdout, _, code := run(t, "version", "-o", "json")
	var b cli.Build
	if err := json.Unmarshal([]byte(stdout), &b); err != nil || code != 0 || b.Version == "" || b.Go == "" {
		t.Errorf("exit %d, %v: %s", code, err, stdout)
	}
}

func TestWarnings(t *testing.T) {
	cfg := broker.Config{}
	cfg.Cluster.Peers = map[string]string{"n1": "a:1", "n2": "b:2"}
	cfg.Durability.Ack = broker.PageCache
	if got := warnings(&cfg); len(got) != 2 {
		t.Errorf("%q", got)
	}
}
