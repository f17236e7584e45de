package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type memberID string

// mebibytes is a value with a text form of its own.
type mebibytes int64

func (m mebibytes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%dMiB", int64(m)), nil }

func (m *mebibytes) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "%dMiB", (*int64)(m))
	return err
}

type sample struct {
	Node struct {
		ID   memberID `yaml:"id"`
		Data string   `yaml:"data"`
	} `yaml:"node"`
	Raft struct {
		Heartbeat       time.Duration `yaml:"heartbeat"`
		ElectionTimeout time.Duration `yaml:"election_timeout"`
	} `yaml:"raft"`
	Peers    map[memberID]string `yaml:"peers"`
	Names    []string            `yaml:"names"`
	MaxBytes mebibytes           `yaml:"max_bytes"`
	Queues   int                 `yaml:"queues"`
	Insecure bool                `yaml:"insecure"`
	hidden   int
	Clock    func() time.Time
}

func defaults() *sample {
	s := &sample{MaxBytes: 64, Queues: 4}
	s.Raft.Heartbeat = 100 * time.Millisecond
	s.Raft.ElectionTimeout = 72 * time.Hour
	return s
}

const file = `# a broker
node: { id: n1 }
raft:
  heartbeat: 50ms
peers:
  n1: "a:1"
  n2: "b:2"
names: [x, y]
max_bytes: 1MiB
`

func TestRisingOrderAndOrigins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	s := Of(c)
	if err := s.FromFile(path); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/bin", "LEDGERMQ_SERVER=elsewhere:1", "LEDGERMQ_RAFT_HEARTBEAT=70ms", "LEDGERMQ_INSECURE=true"}
	if err := s.FromEnv(env, []string{"LEDGERMQ_SERVER"}); err != nil {
		t.Fatal(err)
	}
	if err := s.FromFlag("peers", "peers", "n1=c:3, n3=d:4"); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, setting := range s.All() {
		got[setting.Path] = setting.Value() + " from " + setting.Origin
	}
	want := map[string]string{
		"node.id":               "n1 from broker.yaml:2",
		"node.data":             " from default",
		"raft.heartbeat":        "70ms from env LEDGERMQ_RAFT_HEARTBEAT",
		"raft.election_timeout": "72h from default",
		"peers":                 "n1=c:3,n3=d:4 from flag --peers",
		"names":                 "x,y from broker.yaml:8",
		"max_bytes":             "1MiB from broker.yaml:9",
		"queues":                "4 from default",
		"insecure":              "true from env LEDGERMQ_INSECURE",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if c.Raft.Heartbeat != 70*time.Millisecond || c.Peers["n3"] != "d:4" || c.MaxBytes != 1 || c.hidden != 0 {
		t.Errorf("the struct was not filled: %+v", c)
	}
}

func TestFaultsInTheFile(t *testing.T) {
	for _, test := range []struct{ name, text, code, want string }{
		{"typo", "raft:\n  heartbeet: 1s\n", CodeUnknownKey, `f.yaml:2:3: unknown key "heartbeet" under raft — did you mean "heartbeat"?`},
		{"typo at the top", "rfat: {}\n", CodeUnknownKey, `f.yaml:1:1: unknown key "rfat" under the top level — did you mean "raft"?`},
		{"nothing near", "zookeeper: 1\n", CodeUnknownKey, `f.yaml:1:1: unknown key "zookeeper" under the top level`},
		{"twice", "queues: 1\nqueues: 2\n", CodeDuplicateKey, `f.yaml:2:1: "queues" is given twice under the top level`},
		{"duration", "raft: { heartbeat: fast }\n", CodeInvalidValue, `f.yaml:1:20: raft.heartbeat: "fast" is not a duration like 250ms, 5s or 72h`},
		{"number", "queues: many\n", CodeInvalidValue, `f.yaml:1:9: queues: "many" is not a whole number that fits`},
		{"bool", "insecure: perhaps\n", CodeInvalidValue, `f.yaml:1:11: insecure: "perhaps" is neither true nor false`},
		{"no value", "queues:\n", CodeInvalidValue, `f.yaml:1:8: queues has no value`},
		{"group for a value", "queues: { a: 1 }\n", CodeInvalidValue, `f.yaml:1:9: queues: a value of another kind is wanted here`},
		{"value for a group", "raft: 3\n", CodeInvalidValue, `f.yaml:1:7: raft wants keys and values below it`},
		{"syntax", "raft: [\n", CodeSyntax, `f.yaml:1: did not find expected node content`},
		{"tab", "raft:\n\theartbeat: 1s\n", CodeSyntax, `f.yaml:2: found character that cannot start any token`},
		{"two documents", "queues: 1\n---\nqueues: 2\n", CodeSyntax, `f.yaml:2:1: a second document: one file holds one`},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, Of(defaults()).FromYAML("f.yaml", []byte(test.text)), test.code, "config: "+test.want)
		})
	}
}

func TestFaultsElsewhere(t *testing.T) {
	s := Of(defaults())
	expect(t, s.FromEnv([]string{"LEDGERMQ_RAFT_HARTBEAT=1s"}, nil), CodeUnknownEnv,
		`config: env LEDGERMQ_RAFT_HARTBEAT: no such setting — did you mean "LEDGERMQ_RAFT_HEARTBEAT"?`)
	expect(t, s.FromEnv([]string{"LEDGERMQ_QUEUES=x"}, nil), CodeInvalidValue,
		`config: env LEDGERMQ_QUEUES: "x" is not a whole number that fits`)
	expect(t, s.FromFlag("peers", "peers", "n1"), CodeInvalidValue, `config: flag --peers: "n1" is not NAME=VALUE`)
	expect(t, s.FromFlag("peers", "peers", "n1=a,n1=b"), CodeInvalidValue, `config: flag --peers: "n1" is given twice`)
	missing := filepath.Join(t.TempDir(), "none.yaml")
	expect(t, s.FromFile(missing), CodeFile, "config: "+missing+": cannot be read: no such file or directory")
}

func expect(t *testing.T, err error, code, text string) {
	t.Helper()
	var fault *Error
	if !errors.As(err, &fault) || fault.Code != code || fault.Error() != text {
		t.Errorf("got %v\nwant %s (%s)", err, text, code)
	}
}

func TestYAMLIsReadBack(t *testing.T) {
	c := defaults()
	c.Peers = map[memberID]string{"n2": "b:2", "n1": "a:1"}
	c.Names = []string{"true", "1"}
	s := Of(c)
	text, err := s.YAML(func(path string) string { return "about " + path })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# about raft.heartbeat\n  heartbeat: 100ms\n", "peers: {n1: 'a:1', n2: 'b:2'}", `names: ["true", "1"]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	back := &sample{}
	again := Of(back)
	if err := again.FromYAML("back.yaml", text); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i, setting := range s.All() {
		if got := again.All()[i].Value(); got != setting.Value() {
			t.Errorf("%s: %q became %q", setting.Path, setting.Value(), got)
		}
	}
}

func TestEmptyFilesSetNothing(t *testing.T) {
	for _, text := range []string{"", "# only a comment\n", "---\n"} {
		if err := Of(defaults()).FromYAML("f.yaml", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzFromYAML(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("raft: &r { heartbeat: 1s }\npeers: *r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := Of(defaults()).FromYAML("f.yaml", text)
		var fault *Error
		if err != nil && !errors.As(err, &fault) {
			t.Errorf("%T is no *Error: %v", err, err)
		}
	})
}
