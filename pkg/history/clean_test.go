package history

import (
	"slices"
	"strings"
	"testing"
)

// clean are histories in which nothing is wrong, near the edge of each rule.
var clean = []struct{ name, script string }{
	{"nothing at all", `heal within=10`},
	{"all is well", `
		send P a ok@0
		send P b ok@1 t=12..40
		send Q c ok@2 t=13..40
		pull C @0 0:a 1:b t=40..45
		pull C @2 2:c
		heal within=100
		drain m1 0..3 0:a 1:b 2:c t=60..70
		drain m2 0..3 0:a 1:b 2:c t=60..70`},
	{"unknown outcomes happened once or not at all", `
		send P a info
		send P b info
		send Q c info
		pull C @0 0:b
		drain m1 0..1 0:b`},
	{"definite failures are not there", `
		send P a fail
		send P b ok@0
		drain m1 0..1 0:b`},
	{"a consumer seeks", `
		send P a ok@0
		send P b ok@1
		pull C @0 0:a 1:b
		pull C @0 0:a seek
		pull C @1 1:b`},
	{"two consumers read the same", `
		send P a ok@0
		pull C @0 0:a
		pull D @0 0:a`},
	{"a consumer that does not say where it began", `
		send P a ok@0
		send P b ok@1
		pull C 0:a 1:b`},
	{"concurrent sends of two producers in any order", `
		send P a ok@1 t=0..50
		send Q b ok@0 t=40..90
		drain m1 0..2 0:b 1:a t=100..101`},
	{"an acknowledgement at the very instant in which another send begins", `
		send P a ok@1 t=0..50
		send Q b ok@0 t=50..90
		drain m1 0..2 0:b 1:a t=100..101`},
	{"a late stranger of unknown outcome", `
		send P a info t=0..10
		send Q b ok@0 t=20..30
		drain m1 0..2 0:b 1:a`},
	{"one sequence in two epochs, two producers, two queues", `
		send P a ok@0 pid=7 epoch=1 seq=0
		send P b ok@1 pid=7 epoch=2 seq=1
		send Q c ok@2 pid=8 epoch=1 seq=0
		send P d ok@0 pid=7 epoch=1 seq=0 q=1
		drain m1 0..3 0:a 1:b 2:c
		drain m1 0..1 0:d q=1`},
	{"sent while the copies are read", `
		send P a ok@0
		send P b ok@1 t=5..100
		pull C @0 0:a 1:b t=50..60
		drain m1 0..1 0:a t=20..30`},
	{"a copy in several lines", `
		send P a ok@0
		send P b ok@1
		drain m1 0..2 0:a
		drain m1 0..2 1:b`},
	{"acknowledged as a duplicate whose offset was forgotten", `
		send P a ok@0
		send P b ok
		drain m1 0..2 0:a 1:b`},
	{"progress", `
		progress C @0
		commit C @5
		progress C @5
		commit C @9 info
		progress C @5
		commit C @7
		progress C @9`},
	{"progress of commits at the same time", `
		commit C @5 t=0..50
		commit D @9 t=0..50
		progress C @5 t=10..20
		progress C @9 t=60..70`},
	{"progress set back deliberately", `
		commit C @9
		commit C @2 reset t=20..90
		progress C @9 t=30..40
		progress C @2 t=50..60
		progress C @2 t=100..110`},
	{"progress read before a reset, heard after it", `
		commit C @9
		progress D @9 t=20..90
		commit C @2 reset t=30..40
		progress C @2 t=100..110`},
	{"pulled just in time", `
		send P a ok@0
		heal within=100
		pull C @0 0:a t=20..115
		drain m1 0..1 0:a t=200..201`},
	{"no deadline was set", `
		send P a ok@0
		heal
		drain m1 0..1 0:a`},
}

func TestCleanHistories(t *testing.T) {
	for _, c := range clean {
		t.Run(c.name, func(t *testing.T) { expect(t, Options{}, c.script) })
	}
}

// TestRetentionExcuses has old messages gone from all copies, and one that is not old.
func TestRetentionExcuses(t *testing.T) {
	const script = `
		send P a ok@0
		send P b ok@1
		send P c info
		pull C @0 0:a 1:b
		drain m1 1..2 1:b`
	expect(t, Options{Retention: true}, script)
	expect(t, Options{}, script, "lost-prefix×1")
	expect(t, Options{Retention: true}, strings.ReplaceAll(script, "1:b", "1:x"), "inconsistent-offset×1", "lost-postfix×1", "phantom×1")
}

// TestUnjudged counts what nobody has looked for.
func TestUnjudged(t *testing.T) {
	r := expect(t, Options{}, `
		send P a ok@0
		send P b ok@1
		send P c ok
		pull C @0 0:a`)
	if r.Unjudged != 2 || r.Acked != 3 || r.Copies != 0 {
		t.Errorf("report %+v, want 3 acknowledged and 2 unjudged", r)
	}
}

// TestNoHistory refuses what proves nothing.
func TestNoHistory(t *testing.T) {
	for name, script := range map[string]string{
		"a value twice":               "send P a ok@0\nsend Q a ok@1",
		"a value twice in two queues": "send P a ok@0\nsend Q a ok@1 q=1",
		"a copy with two ranges":      "drain m1 0..1 0:a\ndrain m1 0..2 1:b",
		"an offset twice in a copy":   "drain m1 0..2 0:a 0:b",
	} {
		c := NewChecker(Options{})
		var refused error
		for _, o := range parse(t, script) {
			if refused = c.Add(o); refused != nil {
				break
			}
		}
		if refused == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, o := range []Operation{
		{},
		{Op: Send, Client: "P", Topic: "t", Value: "a"},
		{Op: Send, Client: "P", Topic: "t", Outcome: OK},
		{Op: Send, Client: "P", Topic: "t", Value: "a", Outcome: OK, Invoke: 5},
		{Op: Pull, Client: "C", Topic: "t", Outcome: Info, Messages: []Message{{0, "a"}}},
		{Op: Pull, Client: "C", Topic: "t", Outcome: OK, Messages: []Message{{-1, "a"}}},
		{Op: Drain, Client: "C", Topic: "t", Outcome: OK},
		{Op: Drain, Client: "C", Topic: "t", Outcome: OK, Member: "m1", End: 1, Messages: []Message{{1, "a"}}},
		{Op: Commit, Client: "C", Topic: "t", Outcome: OK, Offset: 1},
		{Op: "poll", Client: "C", Topic: "t", Outcome: OK},
	} {
		if err := NewChecker(Options{}).Add(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestExamplesAreBounded has more anomalies than are described.
func TestExamplesAreBounded(t *testing.T) {
	var script strings.Builder
	for i := range 100 {
		script.WriteString("pull C" + string(rune('0'+i%10)) + strings.Repeat("x", i/10) + " @0 0:z\n")
	}
	r := judge(t, Options{}, parse(t, script.String()))
	if r.Anomalies[Phantom] != 1 {
		t.Errorf("one phantom read a hundred times counts %d", r.Anomalies[Phantom])
	}
	var sends []string
	for i := range 100 {
		sends = append(sends, "send P v"+strings.Repeat("x", i)+" ok@"+"0")
	}
	r = judge(t, Options{}, parse(t, strings.Join(append(sends, "drain m1 0..0"), "\n")))
	if r.Lost() != 100 || len(slices.DeleteFunc(r.Examples, func(a Anomaly) bool { return a.Class != LostPostfix })) != MaxExamples {
		t.Errorf("%d lost with %d examples", r.Lost(), len(r.Examples))
	}
}
