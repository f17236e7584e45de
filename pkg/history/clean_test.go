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
	{"a producer that began to count anew in another epoch", `
		send P a ok@0 pid=7 epoch=1 seq=0 number=1
		send P b ok@1 pid=7 epoch=2 seq=1 number=1
		send P c ok@2 pid=7 epoch=2 seq=2 number=2
		drain m1 0..3 0:a 1:b 2:c`},
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
	{"a member is given again what was not committed", `
		send P a ok@0
		send P b ok@1
		pull C @0 0:a 1:b g=0
		commit C @1 grant=3
		pull D @1 1:b g=36 seek
		commit D @2 grant=4`},
	{"a member that had begun before the commit is given what was committed", `
		send P a ok@0
		pull C @0 0:a g=0
		commit C @1
		pull D @0 0:a g=25 seek t=40..50`},
	{"a commit under a grant that was over", `
		commit C @1 grant=4 fail
		commit D @2 grant=4
		commit C @2 grant=5 info
		commit C @3 grant=5`},
	{"a group that began late, and one that was set forwards", `
		send P a ok@0
		send P b ok@1
		pull X @0 0:a 1:b
		pull C @1 1:b g=25 seek
		commit C @2`},
	{"a group that was set forwards misses what it was meant to", `
		send P a ok@0
		send P b ok@1
		pull X @0 0:a 1:b
		pull C @0 0:a g=0
		commit X @2 reset
		progress C @2`},
	{"delayed: out of order, at its time, or still waiting", `
		send P a ok due=60
		send P b ok@0
		send P c ok due=900
		pull C @0 0:b
		pull C @1 1:a t=61..62
		drain m1 0..2 0:b 1:a t=200..201`},
	{"recalled, or perhaps, or not", `
		send P a ok due=60
		send P b ok due=60
		send P c ok due=60
		send P d info due=60
		recall P a
		recall P b info
		recall P c fail
		pull C @0 0:c t=100..110
		drain m1 0..1 0:c t=200..201`},
	{"a recall of unknown outcome came to nothing", `
		send P a ok due=60
		recall P a info
		pull C @0 0:a t=100..110`},
	{"transactions: committed, rolled back, open, unknown", `
		send P a ok tx=x
		send P b ok tx=y
		send P c ok tx=z
		send P d ok tx=w
		send P e ok tx=w
		send Q f ok@0
		end P x commit ok@1
		end P x commit ok@1
		end P y rollback
		end P w commit info
		drain m1 0..4 0:f 1:a 2:d 3:e t=200..201
		drain m2 0..4 0:f 1:a 2:d 3:e t=200..201`},
	{"of unknown outcome and not there", `
		send P a ok tx=x
		send P b ok tx=x
		end P x commit info
		drain m1 0..0 t=200..201`},
	{"committed while it is read", `
		send P a ok tx=x
		end P x commit ok@0 t=20..90
		pull C @0 0:a t=30..40`},
	{"work: acknowledged, dead, given again", `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		progress X @0
		receive C 0:a:1 1:b:1 2:c:1
		receive D 1:b:2 2:c:2
		ack C @0
		ack D @1 info
		receive C 1:b:3
		dead X 2:c
		progress X @3`},
	{"work: received while the acknowledgement is under way", `
		send P a ok@0
		receive C 0:a:1
		ack C @0 t=20..90
		receive D 0:a:2 t=30..40
		receive D 0:a:1 t=35..45`},
	{"FIFO: one after another, beside others", `
		send P a ok@0 fifo=k
		send P b ok@1 fifo=k
		send P c ok@2 fifo=l
		send P d ok@3
		receive C 0:a:1 2:c:1 3:d:1
		receive C 0:a:2
		ack C @0 t=80..90
		receive D 1:b:1 t=85..95`},
	{"FIFO: a dead letter lets the next one pass", `
		send P a ok@0 fifo=k
		send P b ok@1 fifo=k
		receive C 0:a:1
		receive D 1:b:1
		dead X 0:a`},
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

// TestRetentionIsLocal has copies that begin where their members have purged to, and a
// value that went before any consumer came.
func TestRetentionIsLocal(t *testing.T) {
	const script = `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		heal within=10
		pull C @2 2:c seek
		drain m1 1..3 1:b 2:c
		drain m2 2..3 2:c`
	expect(t, Options{Retention: true}, script)
	expect(t, Options{}, script, "drain-differs×1", "lost-prefix×1", "unseen×1")
	expect(t, Options{Retention: true}, strings.ReplaceAll(script, "pull C @2 2:c seek\n", ""), "unseen×1")
	expect(t, Options{Retention: true}, strings.ReplaceAll(script, "drain m2 2..3 2:c", "drain m2 2..2"), "drain-differs×1")
}

// TestRetentionOfWhatWaited excuses a delayed message whose offset nobody has told, and
// only where something was purged.
func TestRetentionOfWhatWaited(t *testing.T) {
	const script = `
		send P a ok due=15
		send P b ok@1
		heal within=10
		pull C @1 1:b seek
		drain m1 1..2 1:b`
	expect(t, Options{Retention: true}, script)
	expect(t, Options{}, script, "lost-middle×1")
	expect(t, Options{Retention: true}, strings.NewReplacer("@1", "@0", "1:b", "0:b", "1..2", "0..1").Replace(script), "lost-middle×1")
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
		{Op: Pull, Client: "C", Topic: "t", Outcome: Info, Messages: []Message{{Offset: 0, Value: "a"}}},
		{Op: Pull, Client: "C", Topic: "t", Outcome: OK, Messages: []Message{{Offset: -1, Value: "a"}}},
		{Op: Drain, Client: "C", Topic: "t", Outcome: OK},
		{Op: Drain, Client: "C", Topic: "t", Outcome: OK, Member: "m1", End: 1, Messages: []Message{{Offset: 1, Value: "a"}}},
		{Op: Commit, Client: "C", Topic: "t", Outcome: OK, Offset: 1},
		{Op: "poll", Client: "C", Topic: "t", Outcome: OK},
		{Op: Pull, Client: "C", Topic: "t", Outcome: OK, Messages: []Message{{Offset: 1, Value: "a", Attempt: 1}}},
		{Op: Pull, Client: "C", Topic: "t", Outcome: OK, Since: 1},
		{Op: Send, Client: "P", Topic: "t", Outcome: OK, Value: "a", Due: 4, Transaction: "x"},
		{Op: Recall, Client: "P", Topic: "t", Outcome: OK},
		{Op: End, Client: "P", Topic: "t", Outcome: OK},
		{Op: Receive, Client: "C", Topic: "t", Outcome: OK},
		{Op: Ack, Client: "C", Topic: "t", Outcome: OK, Group: "g", Offset: Unknown},
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
