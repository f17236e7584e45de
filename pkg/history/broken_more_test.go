package history

// brokenHistory breaks one rule, or several by its nature.
type brokenHistory struct {
	name   string
	want   []string
	script string
}

var brokenGroups = []brokenHistory{
	{"given what had been committed before it began", []string{"committed-again×1"}, `
		send P a ok@0
		send P b ok@1
		pull C @0 0:a 1:b g=0
		commit C @2
		pull D @1 1:b g=46 seek t=50..60`},
	{"given below what the brokers had told", []string{"committed-again×1"}, `
		send P a ok@0
		pull C @0 0:a g=0
		commit C @1 info
		progress X @1
		pull D @0 0:a g=36 seek`},
	{"given below the place to which the group was set back", []string{"committed-again×1"}, `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		pull C @0 0:a 1:b 2:c g=0
		commit C @3
		commit X @1 reset
		pull D @0 0:a 1:b g=60 seek`},
	{"two clients commit under one grant", []string{"two-owners×1"}, `
		commit C @1 grant=4
		commit D @2 grant=4`},
	{"two clients commit under one grant, with unknown outcome", []string{"two-owners×1"}, `
		commit C @1 grant=4 info
		commit D @2 grant=4 info`},
	{"the group is past a message that no member was given", []string{"group-missed×1"}, `
		send P a ok@0
		send P b ok@1
		send P c ok@2
		pull X @0 0:a 1:b 2:c
		pull C @0 0:a g=0
		pull D @2 2:c g=45 seek
		commit D @3`},
	{"the group began at 0 by its own word and missed that", []string{"group-missed×1"}, `
		send P a ok@0
		send P b ok@1
		pull X @0 0:a 1:b
		progress C @0
		pull C @1 1:b g=25 seek
		commit C @2`},
}

var brokenWaiting = []brokenHistory{
	{"delivered before its time", []string{"early×1"}, `
		send P a ok due=100
		pull C @0 0:a
		drain m1 0..1 0:a t=200..201`},
	{"delayed, acknowledged and lost", []string{"lost-middle×1"}, `
		send P a ok due=100
		drain m1 0..0 t=200..201`},
	{"delayed and delivered twice", []string{"duplicate×1"}, `
		send P a ok due=10
		drain m1 0..2 0:a 1:a t=200..201`},
	{"delayed and never delivered after the faults", []string{"unseen×1"}, `
		send P a ok due=100
		heal within=10
		drain m1 0..1 0:a t=200..201`},
	{"recalled and delivered afterwards", []string{"recalled×1"}, `
		send P a ok due=30
		recall P a
		pull C @0 0:a t=40..50`},
	{"recalled and in a copy", []string{"recalled×1"}, `
		send P a ok due=30
		recall P a info
		recall P a
		drain m1 0..1 0:a t=60..70`},
	{"recalled what nobody sent", []string{"phantom×1"}, `recall P z`},
	{"a recall that certainly failed, and the message is not there", []string{"lost-middle×1"}, `
		send P a ok due=30
		recall P a fail
		drain m1 0..0 t=60..70`},
	{"half visible: read while the transaction is open", []string{"half-visible×1"}, `
		send P a ok tx=x
		pull C @0 0:a
		end P x commit ok@0`},
	{"half visible: nobody ever committed", []string{"half-visible×1"}, `
		send P a ok tx=x
		end P x commit fail
		drain m1 0..1 0:a`},
	{"rolled back and delivered", []string{"rolled-back×1"}, `
		send P a ok tx=x
		end P x rollback
		drain m1 0..1 0:a`},
	{"committed and lost", []string{"lost-postfix×1"}, `
		send P a ok tx=x
		end P x commit ok@0
		drain m1 0..0`},
	{"committed and never pulled", []string{"unseen×1"}, `
		send P a ok tx=x
		heal within=10
		end P x commit ok@0
		drain m1 0..1 0:a`},
	{"committed, and found elsewhere", []string{"misplaced×1"}, `
		send P a ok tx=x
		end P x commit ok@4
		drain m1 0..1 0:a`},
	{"committed and delivered twice", []string{"duplicate×1"}, `
		send P a ok tx=x
		end P x commit ok@0
		drain m1 0..2 0:a 1:a`},
	{"committed and rolled back", []string{"two-ends×1"}, `
		send P a ok tx=x
		end P x commit
		end Q x rollback`},
	{"an unknown outcome: half of it is there", []string{"torn×1"}, `
		send P a ok tx=x
		send P b ok tx=x
		end P x commit info
		drain m1 0..1 0:a`},
	{"of unknown outcome, delivered and gone", []string{"vanished×1"}, `
		send P a ok tx=x
		end P x commit info
		pull C @0 0:a
		drain m1 0..0`},
	{"committed what nobody sent", []string{"phantom×1"}, `end P z commit`},
}

var brokenWork = []brokenHistory{
	{"received after its acknowledgement was answered", []string{"acked-again×1"}, `
		send P a ok@0
		receive C 0:a:1
		ack C @0
		receive D 0:a:2`},
	{"received after it was a dead letter", []string{"acked-again×1"}, `
		send P a ok@0
		receive C 0:a:1
		dead X 0:a
		receive D 0:a:2`},
	{"received although nobody sent it", []string{"phantom×1"}, `receive C 0:a:1`},
	{"the group is past a message that was only received", []string{"work-lost×1"}, `
		send P a ok@0
		send P b ok@1
		receive C 0:a:1 1:b:1
		ack C @1
		progress X @2`},
	{"the group is past a message whose acknowledgement certainly failed", []string{"work-lost×1"}, `
		send P a ok@0
		receive C 0:a:1
		ack C @0 fail
		progress X @1`},
	{"attempts go down", []string{"attempts-back×1"}, `
		send P a ok@0
		receive C 0:a:2
		receive D 0:a:1`},
	{"FIFO: the second before the first is done with", []string{"fifo-order×1"}, `
		send P a ok@0 fifo=k
		send P b ok@1 fifo=k
		receive C 0:a:1
		receive D 1:b:1
		ack C @0`},
	{"FIFO: the second, and the first never", []string{"fifo-order×1"}, `
		send P a ok@0 fifo=k
		send P b ok@1 fifo=k
		send P c ok@2
		receive C 0:a:1
		ack C @0 fail
		receive D 1:b:1`},
}
