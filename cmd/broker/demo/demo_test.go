package demo

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// TestDemo runs the whole demo for a few seconds, with one leader killed.
func TestDemo(t *testing.T) {
	var out, errs bytes.Buffer
	streams := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}
	cmd := NewCommand(streams, "test")
	args := []string{"--for", "4s", "--every", "3s", "--rate", "500", "-o", "json", "--data", t.TempDir()}
	if code := cli.Execute(t.Context(), cmd, args, streams); code != cli.ExitOK {
		t.Fatalf("exit %d\n%s%s", code, out.Bytes(), errs.Bytes())
	}
	var v verdict
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		t.Fatalf("%v in\n%s", err, out.Bytes())
	}
	if !v.OK || !v.MembersAgree || v.Acked == 0 || v.Consumed < v.Acked || v.Unacked != 0 || len(v.Failovers) == 0 {
		t.Errorf("verdict:\n%s", out.Bytes())
	}
	for _, f := range v.Failovers {
		if f.AckMS <= 0 || f.ElectMS <= 0 || f.Killed == f.Successor {
			t.Errorf("failover: %+v", f)
		}
	}
}

func TestVerdictsHaveExitCodes(t *testing.T) {
	for _, test := range []struct {
		name string
		v    verdict
		want cli.ExitCode
	}{
		{"all well", verdict{OK: true, MembersAgree: true}, cli.ExitOK},
		{"lost", verdict{counts: counts{Lost: 1}, MembersAgree: true}, cli.ExitVerification},
		{"twice", verdict{counts: counts{Duplicated: 1}, MembersAgree: true}, cli.ExitVerification},
		{"swapped", verdict{counts: counts{OutOfOrder: 1}, MembersAgree: true}, cli.ExitVerification},
		{"never published", verdict{counts: counts{Phantom: 1}, MembersAgree: true}, cli.ExitVerification},
		{"ledgers differ", verdict{}, cli.ExitVerification},
		{"not acknowledged", verdict{counts: counts{Unacked: 1}, MembersAgree: true}, cli.ExitPartial},
		{"broken", verdict{Fault: "no port"}, cli.ExitFailed},
		{"lost and broken", verdict{counts: counts{Lost: 1}, Fault: "no port"}, cli.ExitVerification},
	} {
		if got := cli.ExitCodeOf(test.v.err()); got != test.want {
			t.Errorf("%s: exit %d, want %d", test.name, got, test.want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	good := config{every: 10 * time.Second, producers: 3, queues: 4, rate: 100, size: 128}
	if err := good.validate(); err != nil {
		t.Errorf("good: %v", err)
	}
	for _, spoil := range []func(*config){
		func(c *config) { c.runFor = -1 },
		func(c *config) { c.every = time.Second },
		func(c *config) { c.producers = 0 },
		func(c *config) { c.queues = 101 },
		func(c *config) { c.rate = 0 },
		func(c *config) { c.size = 8 },
	} {
		c := good
		if spoil(&c); c.validate() == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}
