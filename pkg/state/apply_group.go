package state

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/cockroachdb/pebble/v2"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// CommitResult is what became of one commit of an entry that gathers many.
type CommitResult struct {
	// Code is empty when the group's progress is at the commit's offset or beyond.
	Code string
	// Offset is how far the group is now; NoOffset: nowhere.
	Offset Offset
	// Epoch and End are what the commit was held against.
	Epoch uint64
	End   Offset
}

func (w *working) createGroup(out *pebble.Batch, index Index, c *recordv1.CreateGroup, now int64) Outcome {
	name, kind := c.GetName(), GroupAssignment(c.GetAssignment())
	work, fits := workPolicy(c)
	switch {
	case !validTopicName(name):
		return refuse(CodeInvalidGroupName, "group name %q: 1 to %d letters, digits and any of . _ - %% | are allowed, but not . and .. alone",
			clip(name), MaxGroupNameBytes)
	case c.GetAssignment() < uint32(AssignSticky) || c.GetAssignment() > uint32(AssignWork):
		return refuse(CodeLimitExceeded, "group %s: there is no assignment of kind %d", name, c.GetAssignment())
	case !fits:
		return refuse(CodeLimitExceeded, "group %s: a work-queue group has a policy with at most %d attempts and a back-off of at most %d ms, the least first; others have none", name, MaxAttempts, MaxBackoffMs)
	case w.groups.mu.byName[name] != nil:
		o := refuse(CodeGroupExists, "group %s exists", name)
		o.Group = w.groups.mu.byName[name].group
		return o
	case len(w.groups.mu.byID) >= MaxGroups:
		return refuse(CodeLimitExceeded, "there are %d consumer groups, the limit", MaxGroups)
	}
	// Generations go on above those of any group that had the name before, each of which
	// cost an entry: who was left behind by its deletion is fenced.
	g := &Group{ID: uint64(index) + 1, Name: name, Assignment: kind, Generation: uint64(index) + 1, CreatedUnixMs: now, Work: work}
	w.groups.add(g)
	set(out, appendGroupKey(nil, name), g.append(nil))
	return Outcome{BaseOffset: NoOffset, Group: g}
}

// deleteGroup removes a group and its progress. What the call has changed of it and not
// yet written is not written any more.
func (w *working) deleteGroup(out *pebble.Batch, d *recordv1.DeleteGroup) Outcome {
	st := w.groups.mu.byName[d.GetName()]
	if st == nil {
		return unknownGroup(d.GetName())
	}
	w.groups.remove(st)
	del(out, appendGroupKey(nil, st.group.Name))
	delRange(out, appendProgressKey(nil, st.group.ID, 0), appendProgressKey(nil, st.group.ID+1, 0))
	if st.group.Work != nil {
		delWork(out, st.group.ID, 0, math.MaxUint32)
	}
	return Outcome{BaseOffset: NoOffset, Group: st.group}
}

func (w *working) pauseGroup(out *pebble.Batch, p *recordv1.PauseGroup) Outcome {
	st := w.groups.mu.byName[p.GetName()]
	if st == nil {
		return unknownGroup(p.GetName())
	}
	g := w.groups.replace(st, func(g *Group) { g.Paused = p.GetPaused() })
	set(out, appendGroupKey(nil, g.Name), g.append(nil))
	return Outcome{BaseOffset: NoOffset, Group: g}
}

func unknownGroup(name string) Outcome {
	return refuse(CodeUnknownGroup, "there is no consumer group %q", clip(name))
}

// grantQueues gives the queues their next epoch. Queues that are gone are passed over:
// their topic was deleted since the leader proposed it.
func (w *working) grantQueues(out *pebble.Batch, c *recordv1.GrantQueues) Outcome {
	st := w.groups.find(c.GetGroupId())
	if st == nil {
		return refuse(CodeUnknownGroup, "there is no consumer group with the id %d", c.GetGroupId())
	}
	fresh := 0
	for _, grant := range c.GetGrants() {
		if _, known := st.progress[QueueID(grant.GetQueueId())]; !known {
			fresh++
		}
	}
	if w.groups.mu.records+fresh > MaxProgress {
		return refuse(CodeLimitExceeded, "consumer groups have progress in %d queues, %d more would exceed the limit of %d", w.groups.mu.records, fresh, MaxProgress)
	}
	g := w.nextGeneration(out, st)
	for _, grant := range c.GetGrants() {
		q := w.queues[QueueID(grant.GetQueueId())]
		if q == nil {
			continue
		}
		p, _ := st.of(q.id)
		p.Epoch, p.Owner = g.Generation, ownerOf(grant)
		if p.Offset == NoOffset && p.Owner != OwnerNobody {
			p.Offset = min(max(0, Offset(grant.GetStart())), q.end)
		}
		w.setProgress(st, q.id, p)
	}
	return Outcome{BaseOffset: NoOffset, Group: g}
}

func ownerOf(g *recordv1.QueueGrant) uint64 {
	if !g.GetOwned() {
		return OwnerNobody
	}
	return max(OwnerUnnamed, g.GetOwner())
}

// resetProgress sets offsets deliberately. An epoch that was granted is over with it: a
// commit that is on its way would undo the reset.
func (w *working) resetProgress(out *pebble.Batch, c *recordv1.ResetProgress) Outcome {
	st := w.groups.find(c.GetGroupId())
	if st == nil {
		return refuse(CodeUnknownGroup, "there is no consumer group with the id %d", c.GetGroupId())
	}
	if w.groups.mu.records+len(c.GetOffsets()) > MaxProgress {
		return refuse(CodeLimitExceeded, "consumer groups have progress in %d queues, the limit is %d", w.groups.mu.records, MaxProgress)
	}
	g := w.nextGeneration(out, st)
	o := Outcome{BaseOffset: NoOffset, Group: g}
	for _, to := range c.GetOffsets() {
		q := w.queues[QueueID(to.GetQueueId())]
		if q == nil {
			o.Progress = append(o.Progress, CommitResult{Code: CodeUnknownQueue, Offset: NoOffset})
			continue
		}
		p, _ := st.of(q.id)
		p.Epoch, p.Offset = g.Generation, min(max(0, Offset(to.GetOffset())), q.end)
		w.setProgress(st, q.id, p)
		w.forgetWork(out, st, q.id)
		o.Progress = append(o.Progress, CommitResult{Offset: p.Offset, Epoch: p.Epoch, End: q.end})
	}
	return o
}

func (w *working) nextGeneration(out *pebble.Batch, st *groupState) *Group {
	g := w.groups.replace(st, func(g *Group) { g.Generation++ })
	set(out, appendGroupKey(nil, g.Name), g.append(nil))
	return g
}

// commitProgress takes commits of many consumers, each judged alone.
func (w *working) commitProgress(c *recordv1.CommitProgress, now int64) Outcome {
	o := Outcome{BaseOffset: NoOffset, Progress: make([]CommitResult, 0, len(c.GetCommits()))}
	for _, commit := range c.GetCommits() {
		o.Progress = append(o.Progress, w.commitOne(commit, now))
	}
	return o
}

func (w *working) commitOne(c *recordv1.ProgressCommit, now int64) CommitResult {
	st, q := w.groups.find(c.GetGroupId()), w.queues[QueueID(c.GetQueueId())]
	switch {
	case st == nil:
		return CommitResult{Code: CodeUnknownGroup, Offset: NoOffset}
	case q == nil:
		return CommitResult{Code: CodeUnknownQueue, Offset: NoOffset}
	case st.group.Work != nil:
		return CommitResult{Code: CodeGroupMismatch, Offset: NoOffset}
	}
	p, known := st.of(q.id)
	result := CommitResult{Offset: p.Offset, Epoch: p.Epoch, End: q.end}
	offset := Offset(c.GetOffset())
	switch {
	case c.GetEpoch() != p.Epoch:
		result.Code = CodeStaleGeneration
	case offset > q.end || offset < 0:
		result.Code = CodeOffsetTooHigh
	case !known && w.groups.mu.records >= MaxProgress:
		result.Code = CodeLimitExceeded
	case offset > p.Offset:
		p.Offset, p.CommittedUnixMs = offset, now
		w.setProgress(st, q.id, p)
		result.Offset = offset
	}
	return result
}

// setProgress changes a record, to be written with the end of the call.
func (w *working) setProgress(st *groupState, q QueueID, p Progress) {
	w.groups.set(st, q, p)
	w.groups.dirty[progressKey{st.group.ID, q}] = struct{}{}
}

// storeProgress writes what the call has changed and what is still there.
func (w *working) storeProgress(out *pebble.Batch) {
	for key := range w.groups.dirty {
		st := w.groups.find(key.group)
		if st == nil {
			continue
		}
		if p, ok := st.progress[key.queue]; ok {
			w.key = appendProgressKey(w.key[:0], key.group, key.queue)
			w.value = p.append(w.value[:0])
			set(out, w.key, w.value)
		}
	}
	clear(w.groups.dirty)
}

// dropProgress removes what all groups have of the queues of a topic.
func (w *working) dropProgress(out *pebble.Batch, queues []QueueID) {
	w.groups.dropQueues(queues, func(group uint64, q QueueID) {
		del(out, appendProgressKey(nil, group, q))
		if w.groups.find(group).group.Work != nil {
			delWork(out, group, q, q)
		}
	})
}

// digest is what the rolling hash takes of what an entry did to consumer groups or
// delivered; 0: nothing.
func (o *Outcome) digest() uint32 {
	if o.Digest != 0 {
		return o.Digest
	}
	if o.Group == nil && o.Progress == nil {
		return 0
	}
	var b []byte
	if g := o.Group; g != nil {
		b = binary.AppendUvarint(g.append(b), uint64(len(g.Name)))
		b = append(b, g.Name...)
	}
	for _, p := range o.Progress {
		b = binary.LittleEndian.AppendUint64(b, uint64(p.Offset))
		b = binary.LittleEndian.AppendUint64(b, p.Epoch)
		b = appendText(b, p.Code)
	}
	return crc32.Checksum(b, castagnoli)
}

// unknownInGroups counts the fields of a command of consumer groups that this build does
// not know; ok is false for other commands.
func unknownInGroups(command *recordv1.Command) (unknown int, ok bool) {
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateGroup:
		unknown = len(kind.CreateGroup.ProtoReflect().GetUnknown())
		if p := kind.CreateGroup.GetWork(); p != nil {
			unknown += len(p.ProtoReflect().GetUnknown())
		}
		return unknown, true
	case *recordv1.Command_DeleteGroup:
		return len(kind.DeleteGroup.ProtoReflect().GetUnknown()), true
	case *recordv1.Command_PauseGroup:
		return len(kind.PauseGroup.ProtoReflect().GetUnknown()), true
	case *recordv1.Command_GrantQueues:
		unknown = len(kind.GrantQueues.ProtoReflect().GetUnknown())
		for _, g := range kind.GrantQueues.GetGrants() {
			unknown += len(g.ProtoReflect().GetUnknown())
		}
	case *recordv1.Command_CommitProgress:
		unknown = len(kind.CommitProgress.ProtoReflect().GetUnknown())
		for _, c := range kind.CommitProgress.GetCommits() {
			unknown += len(c.ProtoReflect().GetUnknown())
		}
	case *recordv1.Command_ResetProgress:
		unknown = len(kind.ResetProgress.ProtoReflect().GetUnknown())
		for _, to := range kind.ResetProgress.GetOffsets() {
			unknown += len(to.ProtoReflect().GetUnknown())
		}
	default:
		return 0, false
	}
	return unknown, true
}

// carryOutGroup carries out a command of consumer groups; ok is false for other commands.
func (w *working) carryOutGroup(out *pebble.Batch, index Index, command *recordv1.Command) (o Outcome, ok bool) {
	now := command.GetTimeUnixMs()
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateGroup:
		return w.createGroup(out, index, kind.CreateGroup, now), true
	case *recordv1.Command_DeleteGroup:
		return w.deleteGroup(out, kind.DeleteGroup), true
	case *recordv1.Command_PauseGroup:
		return w.pauseGroup(out, kind.PauseGroup), true
	case *recordv1.Command_GrantQueues:
		return w.grantQueues(out, kind.GrantQueues), true
	case *recordv1.Command_CommitProgress:
		return w.commitProgress(kind.CommitProgress, now), true
	case *recordv1.Command_ResetProgress:
		return w.resetProgress(out, kind.ResetProgress), true
	}
	return Outcome{}, false
}
