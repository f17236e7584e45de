package state

import (
	"github.com/cockroachdb/pebble/v2"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// workPolicy reads the policy of a group that is to be made; it must have one exactly if
// it is a work-queue group.
func workPolicy(c *recordv1.CreateGroup) (*WorkPolicy, bool) {
	p := c.GetWork()
	if GroupAssignment(c.GetAssignment()) != AssignWork || p == nil {
		return nil, (GroupAssignment(c.GetAssignment()) == AssignWork) == (p != nil)
	}
	ok := p.GetMaxAttempts() <= MaxAttempts && p.GetBackoffMinMs() >= 0 && p.GetBackoffMinMs() <= p.GetBackoffMaxMs() && p.GetBackoffMaxMs() <= MaxBackoffMs
	return &WorkPolicy{MaxAttempts: int(p.GetMaxAttempts()), BackoffMinMs: p.GetBackoffMinMs(), BackoffMaxMs: p.GetBackoffMaxMs(), FIFO: p.GetFifo()}, ok
}

// settleWork takes what became of messages, each judged alone.
func (w *working) settleWork(out *pebble.Batch, c *recordv1.SettleWork, now int64) Outcome {
	o := Outcome{BaseOffset: NoOffset, Progress: make([]CommitResult, 0, len(c.GetItems()))}
	for _, item := range c.GetItems() {
		st, q, refusal := w.workQueue(item.GetGroupId(), item.GetQueueId(), item.GetEpoch())
		if refusal.Code != "" {
			o.Progress = append(o.Progress, refusal)
			continue
		}
		w.raiseWork(out, st, q, Offset(item.GetLow()), now)
		o.Progress = append(o.Progress, w.settle(out, st, q, item, now))
	}
	return o
}

// workQueue finds the group and the queue of an item, or says why it is refused.
func (w *working) workQueue(group uint64, queue uint32, epoch uint64) (*groupState, *queue, CommitResult) {
	st, q := w.groups.find(group), w.queues[QueueID(queue)]
	switch {
	case st == nil:
		return nil, nil, CommitResult{Code: CodeUnknownGroup, Offset: NoOffset}
	case q == nil:
		return nil, nil, CommitResult{Code: CodeUnknownQueue, Offset: NoOffset}
	case st.group.Work == nil:
		return nil, nil, CommitResult{Code: CodeGroupMismatch, Offset: NoOffset}
	}
	p, _ := st.of(q.id)
	refusal := CommitResult{Offset: p.Offset, Epoch: p.Epoch, End: q.end}
	if p.Epoch != epoch || p.Offset == NoOffset {
		refusal.Code = CodeStaleGeneration
	}
	return st, q, refusal
}

// settle enters one item.
func (w *working) settle(out *pebble.Batch, st *groupState, q *queue, item *recordv1.WorkItem, now int64) CommitResult {
	p, _ := st.of(q.id)
	first, count := Offset(item.GetOffset()), Offset(item.GetCount())
	result := CommitResult{Offset: p.Offset, Epoch: p.Epoch, End: q.end}
	last := first + max(count, 1) - 1
	of := st.work[q.id]
	switch {
	case first < 0 || first >= q.end || last >= q.end:
		result.Code = CodeOffsetTooHigh
	case last >= p.Offset+WorkWindow:
		result.Code = CodeLimitExceeded
	case count > 0:
		w.doneWork(out, st, q, first, last, now)
		after, _ := st.of(q.id)
		result.Offset = after.Offset
	case first < p.Offset || of != nil && of.done.has(first): // what is done stays done
	case item.GetAttempts() == 0 || item.GetAttempts() > MaxAttempts:
		result.Code = CodeLimitExceeded
	case !w.tryWork(out, st, q, first, try{attempts: item.GetAttempts(), visibleAt: item.GetVisibleAtUnixMs()}):
		result.Code = CodeLimitExceeded
	}
	return result
}

// doneWork makes the messages first to last done.
func (w *working) doneWork(out *pebble.Batch, st *groupState, q *queue, first, last Offset, now int64) {
	p, _ := st.of(q.id)
	t := w.groups
	t.mu.Lock()
	of := t.workOf(st, q.id)
	first = max(first, p.Offset)
	if first == p.Offset && last >= first && len(of.done.words) == 0 {
		p.Offset = last + 1 // the rule: in order, so that no bits are needed
	} else {
		for o := first; o <= last; o++ {
			of.done.add(p.Offset, o)
		}
		p.Offset = of.done.raise(p.Offset)
	}
	t.mu.Unlock()
	if len(of.tries) > 0 {
		for o := first; o <= last; o++ {
			w.dropTry(out, st, q, of, o)
		}
	}
	w.setWork(st, q, p, now)
}

// setWork notes that a group's work in a queue has changed.
func (w *working) setWork(st *groupState, q *queue, p Progress, now int64) {
	if before, _ := st.of(q.id); before.Offset != p.Offset {
		p.CommittedUnixMs = now
		w.setProgress(st, q.id, p)
	}
	w.groups.dirtyWork[progressKey{st.group.ID, q.id}] = struct{}{}
}

// raiseWork makes what is below low done: the ledger does not have it any more.
func (w *working) raiseWork(out *pebble.Batch, st *groupState, q *queue, low Offset, now int64) {
	p, _ := st.of(q.id)
	if low = min(low, q.end); low <= p.Offset {
		return
	}
	t := w.groups
	of := st.work[q.id]
	p.Offset = low
	if of != nil {
		t.mu.Lock()
		p.Offset = of.done.raise(low)
		t.mu.Unlock()
		for _, o := range of.sortedTries(p.Offset) {
			w.dropTry(out, st, q, of, o)
		}
	}
	w.setWork(st, q, p, now)
}

// tryWork notes that a message was tried in vain; false: too many were.
func (w *working) tryWork(out *pebble.Batch, st *groupState, q *queue, o Offset, tried try) bool {
	t := w.groups
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.workOf(st, q.id)
	before, known := of.tries[o]
	if !known {
		if t.mu.tries >= MaxTries {
			return false
		}
		t.mu.tries++
	}
	tried.attempts = max(tried.attempts, before.attempts)
	of.tries[o] = tried
	w.key, w.value = appendTryKey(w.key[:0], st.group.ID, q.id, o), tried.append(w.value[:0])
	set(out, w.key, w.value)
	return true
}

func (w *working) dropTry(out *pebble.Batch, st *groupState, q *queue, of *work, o Offset) {
	if _, known := of.tries[o]; !known {
		return
	}
	t := w.groups
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(of.tries, o)
	t.mu.tries--
	w.key = appendTryKey(w.key[:0], st.group.ID, q.id, o)
	del(out, w.key)
}

// moveWork makes messages done and gives their copies offsets elsewhere. What is done
// already is passed over: its copy is nobody's.
func (w *working) moveWork(out *pebble.Batch, index Index, c *recordv1.MoveWork, now int64) Outcome {
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	if n := len(c.GetMoves()); n == 0 || n > MaxDeliver {
		return refuse(CodeLimitExceeded, "%d messages to move at once, 1 to %d are possible", n, MaxDeliver)
	}
	st, q, refusal := w.workQueue(c.GetGroupId(), c.GetQueueId(), c.GetEpoch())
	if refusal.Code != "" {
		return refuse(refusal.Code, "messages of queue %d cannot be moved for the group %d: it is at %d, epoch %d, not %d",
			c.GetQueueId(), c.GetGroupId(), refusal.Offset, refusal.Epoch, c.GetEpoch())
	}
	w.raiseWork(out, st, q, Offset(c.GetLow()), now)
	for _, m := range c.GetMoves() {
		o.Progress = append(o.Progress, w.moveOne(out, index, st, q, m, &o, now))
	}
	o.Moved, o.DeliveredRecords = o.DeliveredRecords, 0
	return o
}

// moveOne moves one message; the result's offset is that of the copy, NoOffset if the
// message was done before.
func (w *working) moveOne(out *pebble.Batch, index Index, st *groupState, q *queue, m *recordv1.WorkMove, o *Outcome, now int64) CommitResult {
	p, _ := st.of(q.id)
	at, place := Offset(m.GetOffset()), index-Index(m.GetBack())
	to := w.queues[QueueID(m.GetToQueueId())]
	result := CommitResult{Offset: NoOffset, Epoch: p.Epoch, End: q.end}
	switch {
	case at < 0 || at >= q.end:
		result.Code = CodeOffsetTooHigh
	case at >= p.Offset+WorkWindow:
		result.Code = CodeLimitExceeded
	case place < 0 || place >= index || to == nil:
		result.Code = CodeUnknownQueue
	case at < p.Offset || st.work[q.id] != nil && st.work[q.id].done.has(at):
	case w.topics[to.topic].Deleted():
		result.Code = CodeTopicDeleted // the message would go with it
	default:
		w.doneWork(out, st, q, at, at, now)
		result.Offset = w.deliver(out, index, o, place, to.id, 1)
		w.postCopy(out, to, result.Offset)
	}
	return result
}

// forgetWork drops what a group has done above its progress in a queue, as a reset does.
func (w *working) forgetWork(out *pebble.Batch, st *groupState, q QueueID) {
	if st.work[q] == nil {
		return
	}
	w.groups.mu.Lock()
	w.groups.forgetWork(st, q)
	w.groups.mu.Unlock()
	delete(w.groups.dirtyWork, progressKey{st.group.ID, q})
	delWork(out, st.group.ID, q, q)
}

// storeWork writes which messages are done above the progress, where a call changed that
// and the queue is still there.
func (w *working) storeWork(out *pebble.Batch) {
	for key := range w.groups.dirtyWork {
		st := w.groups.find(key.group)
		if st == nil || st.work[key.queue] == nil {
			continue
		}
		of := st.work[key.queue]
		w.key = appendWorkKey(w.key[:0], workDone, key.group, key.queue)
		switch {
		case len(of.done.words) > 0:
			w.value = of.done.append(w.value[:0])
			set(out, w.key, w.value)
			of.stored = true
		case of.stored:
			del(out, w.key)
			of.stored = false
		}
	}
	clear(w.groups.dirtyWork)
}

// carryOutWork carries out a command of work-queue groups; ok is false for other commands.
func (w *working) carryOutWork(out *pebble.Batch, index Index, command *recordv1.Command) (o Outcome, ok bool) {
	now := command.GetTimeUnixMs()
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_SettleWork:
		return w.settleWork(out, kind.SettleWork, now), true
	case *recordv1.Command_MoveWork:
		return w.moveWork(out, index, kind.MoveWork, now), true
	}
	return Outcome{}, false
}

// unknownInWork counts the fields of a command of work-queue groups that this build does
// not know; ok is false for other commands.
func unknownInWork(command *recordv1.Command) (unknown int, ok bool) {
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_SettleWork:
		unknown = len(kind.SettleWork.ProtoReflect().GetUnknown())
		for _, item := range kind.SettleWork.GetItems() {
			unknown += len(item.ProtoReflect().GetUnknown())
		}
	case *recordv1.Command_MoveWork:
		unknown = len(kind.MoveWork.ProtoReflect().GetUnknown())
		for _, m := range kind.MoveWork.GetMoves() {
			unknown += len(m.ProtoReflect().GetUnknown())
		}
	default:
		return 0, false
	}
	return unknown, true
}
