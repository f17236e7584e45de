package history

import (
	"slices"
	"testing"
)

// broken are histories broken by hand. Each breaks one rule, or where one event breaks
// several by its nature, exactly these.
var broken = []brokenHistory{
	{"lost at the end, by the copies", []string{"lost-postfix×1"}, `
		send P a ok@0
		send P b ok@1
		drain m1 0..1 0:a
		drain m2 0..1 0:a`},
	{"everything lost", []string{"lost-postfix×2"}, `
		send P a ok@0
		send P b ok@1
		drain m1 0..0`},
	{"lost at the beginning, because the copy begins later", []string{"lost-prefix×1"}, `
		send P a ok@0
		send P b ok@1
		drain m1 1..2 1:b`},
	{"lost in the middle, another took its place", []string{"lost-middle×1", "inconsistent-offset×1"}, `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		send Q x info t=0..50
		drain m1 0..3 0:a 1:x 2:c`},
	{"lost in the middle, by a consumer that read past it", []string{"lost-middle×1", "skip×1"}, `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		pull C @0 0:a 2:c`},
	{"lost although it was once delivered", []string{"lost-postfix×1"}, `
		send P a ok@0
		send P b ok@1
		pull C @0 0:a 1:b
		drain m1 0..1 0:a`},
	{"lost, acknowledged as a duplicate whose offset was forgotten", []string{"lost-middle×1"}, `
		send P a ok@0
		send P b ok
		drain m1 0..1 0:a`},
	{"retention is no excuse for what is above the first offset", []string{"drain-gap×1", "lost-prefix×1"}, `
		send P a ok@0
		send P b ok@1
		drain m1 0..2 1:b`},
	{"vanished: delivered, never acknowledged, gone", []string{"vanished×1"}, `
		send P a ok@0
		send P b info
		pull C @0 0:a 1:b
		drain m1 0..1 0:a`},
	{"duplicate in one queue", []string{"duplicate×1"}, `
		send P a ok@0
		pull C @0 0:a 1:a`},
	{"duplicate of a send of unknown outcome", []string{"duplicate×1"}, `
		send P a info
		drain m1 0..2 0:a 1:a`},
	{"duplicate across consumers", []string{"duplicate×1"}, `
		send P a info
		send P b info
		pull C @0 0:a
		pull D @1 1:a`},
	{"sequence acknowledged twice", []string{"sequence-conflict×1"}, `
		send P a ok@0 pid=7 epoch=1 seq=3
		send Q b ok@1 pid=7 epoch=1 seq=3
		drain m1 0..2 0:a 1:b`},
	{"number of a producer acknowledged twice", []string{"sequence-conflict×1"}, `
		send P a ok@0 pid=7 epoch=1 seq=3 number=9
		send P b ok@1 pid=7 epoch=1 seq=4 number=9
		drain m1 0..2 0:a 1:b`},
	{"acknowledged here, found there", []string{"misplaced×1"}, `
		send P a ok@5
		drain m1 0..1 0:a`},
	{"two acknowledgements for one offset", []string{"inconsistent-offset×1"}, `
		send P a ok@0
		send Q b ok@0`},
	{"two consumers read different values at an offset", []string{"inconsistent-offset×1"}, `
		send P a info
		send Q b info
		pull C @0 0:a
		pull D @0 0:b`},
	{"a consumer and a copy differ", []string{"inconsistent-offset×1", "vanished×1"}, `
		send P a info
		send Q b info
		pull C @0 0:a
		drain m1 0..1 0:b`},
	{"aborted: a definite failure is found", []string{"aborted×1"}, `
		send P a fail
		pull C @0 0:a`},
	{"aborted in a copy", []string{"aborted×1"}, `
		send P a fail
		drain m1 0..1 0:a`},
	{"phantom: nobody sent it", []string{"phantom×1"}, `
		send P a ok@0
		pull C @0 0:a 1:z`},
	{"phantom: sent to another queue", []string{"phantom×1"}, `
		send P a ok@0
		pull C @0 0:a
		pull C q=1 @0 0:a`},
	{"phantom: read before it was sent", []string{"phantom×1"}, `
		pull C @0 0:a
		send P a ok@0`},
	{"skip within a pull", []string{"skip×1"}, `
		send P a info
		send P b info
		pull C @0 0:a 2:b`},
	{"skip across pulls", []string{"skip×1"}, `
		send P a info
		send P b info
		pull C @0 0:a
		pull C @1 5:b`},
	{"skip at the first pull", []string{"skip×1"}, `
		send P a info
		pull C @0 3:a`},
	{"skip after a seek", []string{"skip×1"}, `
		send P a info
		send P b info
		pull C @0 0:a
		pull C @7 8:b seek`},
	{"step back within a pull", []string{"step-back×1"}, `
		send P a info
		send P b info
		pull C @0 0:a 1:b 1:b`},
	{"step back across pulls without a seek", []string{"step-back×1"}, `
		send P a info
		send P b info
		pull C @0 0:a 1:b
		pull C @2 0:a`},
	{"a producer's messages swapped", []string{"producer-order×1"}, `
		send P a ok@1
		send P b ok@0
		drain m1 0..2 0:b 1:a`},
	{"a producer's concurrent messages swapped, known by their sequence", []string{"producer-order×1"}, `
		send P b ok@0 seq=1 t=0..9
		send P a ok@1 seq=0 t=0..9
		drain m1 0..2 0:b 1:a`},
	{"a producer's message of unknown outcome came late", []string{"producer-order×1"}, `
		send P a info
		send P b ok@0
		drain m1 0..2 0:b 1:a`},
	{"real time: a later send of another producer stands before", []string{"real-time×1"}, `
		send P a ok@1
		send Q b ok@0
		drain m1 0..2 0:b 1:a`},
	{"real time, seen through a third producer", []string{"real-time×1"}, `
		send P a ok@1
		send Q b ok@2
		send Q c ok@3
		send R d ok@0
		drain m1 0..4 0:d 1:a 2:b 3:c`},
	{"real time: the highest is its own, the second highest is not", []string{"producer-order×1", "real-time×1"}, `
		send P a ok@1
		send Q b ok@2
		send Q c ok@0
		drain m1 0..3 0:c 1:a 2:b`},
	{"progress told lower than committed", []string{"progress-back×1"}, `
		commit C @5
		commit C @9
		progress C @5`},
	{"progress told lower than told before", []string{"progress-back×1"}, `
		commit C @5
		commit C @9 info
		progress C @9
		progress D @5`},
	{"progress lost altogether", []string{"progress-back×1"}, `
		commit C @5
		progress C @0`},
	{"progress back below a reset", []string{"progress-back×1"}, `
		commit C @2
		commit C @9
		commit C @5 reset
		progress C @2`},
	{"progress that nobody committed", []string{"progress-phantom×1"}, `
		commit C @5
		progress C @7`},
	{"progress of a commit that certainly failed", []string{"progress-phantom×1"}, `
		commit C @5 fail
		progress C @5`},
	{"a hole in a copy", []string{"drain-gap×1"}, `
		send P a ok@0
		send P b ok@1
		drain m1 0..2 0:a 1:b
		drain m2 0..2 1:b`},
	{"two holes in a copy", []string{"drain-gap×2"}, `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		drain m1 0..3 0:a 1:b 2:c
		drain m2 0..3 1:b`},
	{"copies differ in a value", []string{"drain-differs×1"}, `
		send P a ok@0
		send P b info
		drain m1 0..1 0:a
		drain m2 0..1 0:b
		drain m3 0..1 0:a`},
	{"copies differ in their end", []string{"drain-differs×1"}, `
		send P a ok@0
		send P b ok@1
		drain m1 0..2 0:a 1:b
		drain m2 0..1 0:a`},
	{"never pulled", []string{"unseen×1"}, `
		send P a ok@0
		send P b ok@1
		pull C @0 0:a
		heal within=100
		drain m1 0..2 0:a 1:b`},
	{"pulled too late after the healing", []string{"unseen×1"}, `
		send P a ok@0
		heal within=100
		pull C @0 0:a t=20..200
		drain m1 0..1 0:a`},
	{"pulled too late after its acknowledgement", []string{"unseen×1"}, `
		heal within=100
		send P a ok@0 t=300..310
		pull C @0 0:a t=20..500
		drain m1 0..1 0:a t=600..601`},
}

func TestBrokenHistories(t *testing.T) {
	all := slices.Concat(broken, brokenGroups, brokenWaiting, brokenWork)
	if len(all) < 75 {
		t.Errorf("%d broken histories, want 75", len(all))
	}
	classes := map[Class]bool{}
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			r := expect(t, Options{}, b.script, b.want...)
			for class := range r.Anomalies {
				classes[class] = true
			}
			if sum := r.Lost() + r.Doubled() + r.OutOfOrder() + r.Phantoms() + r.Other(); r.Clean() || sum == 0 {
				t.Errorf("clean %v with a sum of %d", r.Clean(), sum)
			}
		})
	}
	for _, class := range Classes() {
		if !classes[class] {
			t.Errorf("no broken history is %s", class)
		}
	}
}
