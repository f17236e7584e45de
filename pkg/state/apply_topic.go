package state

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// carryOutTopic carries out a command about topics; ok is false for other commands. Its
// error is one of the store.
func (w *working) carryOutTopic(out *pebble.Batch, index Index, command *recordv1.Command) (o Outcome, ok bool, err error) {
	now := command.GetTimeUnixMs()
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		return w.createTopic(out, kind.CreateTopic, now), true, nil
	case *recordv1.Command_DeleteTopic:
		return w.deleteTopic(out, kind.DeleteTopic, now), true, nil
	case *recordv1.Command_AlterTopic:
		return w.alterTopic(out, index, kind.AlterTopic), true, nil
	case *recordv1.Command_UndeleteTopic:
		return w.undeleteTopic(out, kind.UndeleteTopic), true, nil
	case *recordv1.Command_PurgeDeleted:
		return w.purgeDeleted(out, kind.PurgeDeleted), true, nil
	case *recordv1.Command_TrimQueues:
		o, err = w.trimQueues(out, kind.TrimQueues)
		return o, true, err
	}
	return Outcome{}, false, nil
}

func (w *working) createTopic(out *pebble.Batch, c *recordv1.CreateTopic, now int64) Outcome {
	name, n := c.GetName(), c.GetQueues()
	settings := TopicSettings{}.with(c.GetSettings())
	switch there := w.topics[name]; {
	case !validTopicName(name):
		return refuse(CodeInvalidTopicName, "topic name %q: 1 to %d letters, digits and any of . _ - %% | are allowed, but not . and .. alone",
			clip(name), MaxTopicNameBytes)
	case there != nil && there.Deleted():
		return refuse(CodeTopicDeleted, "%s", there.deletedMessage())
	case there != nil:
		o := refuse(CodeTopicExists, "topic %s exists, with %d queues", name, len(there.Queues))
		o.Topic = there
		return o
	case n == 0 || n > MaxQueuesPerTopic:
		return refuse(CodeLimitExceeded, "topic %s: %d queues asked for, 1 to %d are possible", name, n, MaxQueuesPerTopic)
	case len(w.topics) >= MaxTopics:
		return refuse(CodeLimitExceeded, "there are %d topics, the limit", MaxTopics)
	case settings.Check() != "":
		return refuse(CodeInvalidTopicSettings, "topic %s: %s", name, settings.Check())
	}
	topic := &Topic{Name: name, CreatedUnixMs: now, Settings: settings}
	if refusal, ok := w.addQueues(topic, int(n)); !ok {
		return refusal
	}
	w.addTopic(topic)
	w.storeTopic(out, topic)
	if c.GetKeyIndex() {
		w.beginKeyIndexes(out, topic.Queues)
	}
	o := Outcome{BaseOffset: NoOffset, Topic: topic}
	if !topic.plain() {
		o.Digest = topic.digest()
	}
	return o
}

// addQueues gives the topic n more queues, if there may be so many.
func (w *working) addQueues(topic *Topic, n int) (refusal Outcome, ok bool) {
	switch {
	case len(w.queues)+n > MaxQueues:
		return refuse(CodeLimitExceeded, "there are %d queues, %d more would exceed the limit of %d", len(w.queues), n, MaxQueues), false
	case w.nextQueue+QueueID(n) < w.nextQueue:
		return refuse(CodeLimitExceeded, "queue numbers are used up"), false
	}
	for range n {
		topic.Queues = append(topic.Queues, w.nextQueue)
		w.nextQueue++
	}
	return Outcome{}, true
}

func (w *working) storeTopic(out *pebble.Batch, t *Topic) {
	set(out, appendTopicKey(nil, t.Name), t.append(nil))
}

// digest is what the rolling hash takes of a topic that is more than its queues.
func (t *Topic) digest() uint32 { return checksum(t.append([]byte(t.Name))) }

// changed puts a changed topic in the place of what has its name.
func (w *working) changedTopic(out *pebble.Batch, t *Topic) Outcome {
	w.addTopic(t)
	w.storeTopic(out, t)
	return Outcome{BaseOffset: NoOffset, Topic: t, Digest: t.digest()}
}

// alterTopic adds queues, changes settings, or both, or neither.
func (w *working) alterTopic(out *pebble.Batch, index Index, c *recordv1.AlterTopic) Outcome {
	topic, refusal := w.liveTopic(c.GetName())
	if topic == nil {
		return refusal
	}
	n, more := int(c.GetQueues()), int(c.GetQueues())-len(topic.Queues)
	settings := topic.Settings.with(c.GetSettings())
	switch {
	case n > MaxQueuesPerTopic:
		return refuse(CodeLimitExceeded, "topic %s: %d queues asked for, 1 to %d are possible", topic.Name, n, MaxQueuesPerTopic)
	case n != 0 && more < 0:
		return refuse(CodeInvalidTopicChange, "topic %s has %d queues and cannot have fewer: their messages would have no place", topic.Name, len(topic.Queues))
	case settings.Check() != "":
		return refuse(CodeInvalidTopicSettings, "topic %s: %s", topic.Name, settings.Check())
	case settings.Type != topic.Settings.Type && settings.Type != TypeMixed && !w.empty(topic):
		return refuse(CodeInvalidTopicChange, "topic %s is %s and holds messages, or some wait for it: its type may become MIXED now, and %s when it is empty",
			topic.Name, topic.Settings.Type, settings.Type)
	}
	changed := *topic
	changed.Settings = settings
	if n != 0 && more > 0 {
		changed.Queues = slices.Clone(topic.Queues)
		if refusal, ok := w.addQueues(&changed, more); !ok {
			return refusal
		}
		changed.Growths = append(slices.Clone(topic.Growths), Growth{From: len(topic.Queues), Index: index})
	}
	o := w.changedTopic(out, &changed)
	if w.queues[topic.Queues[0]].indexed() {
		w.beginKeyIndexes(out, changed.Queues[len(topic.Queues):])
	}
	return o
}

// beginKeyIndexes gives new queues a key index.
func (w *working) beginKeyIndexes(out *pebble.Batch, queues []QueueID) {
	for _, id := range queues {
		w.beginKeyIndex(out, w.queues[id], 0)
	}
}

// liveTopic returns the topic of a name, or why there is none.
func (w *working) liveTopic(name string) (*Topic, Outcome) {
	topic := w.topics[name]
	switch {
	case topic == nil:
		return nil, refuse(CodeUnknownTopic, "topic %q does not exist", clip(name))
	case topic.Deleted():
		return nil, refuse(CodeTopicDeleted, "%s", topic.deletedMessage())
	}
	return topic, Outcome{}
}

// empty says whether no message of the topic is served, and none waits for it.
func (w *working) empty(t *Topic) bool {
	for _, id := range t.Queues {
		if q := w.queues[id]; q.trimmed != q.end {
			return false
		}
	}
	return len(w.delays.of(t)) == 0 && len(w.open.of(t)) == 0
}

// deleteTopic removes the topic, or with a grace only marks it: what it holds stays, and
// what waits for it goes on waiting.
func (w *working) deleteTopic(out *pebble.Batch, d *recordv1.DeleteTopic, now int64) Outcome {
	topic, grace := w.topics[d.GetName()], d.GetGraceMs()
	switch {
	case topic == nil:
		return refuse(CodeUnknownTopic, "topic %q does not exist", clip(d.GetName()))
	case grace < 0 || grace > MaxDeleteGraceMs:
		return refuse(CodeLimitExceeded, "topic %s: a grace of %d ms asked for, 0 to %d are possible", topic.Name, grace, MaxDeleteGraceMs)
	case grace == 0:
		w.purgeTopic(out, topic)
		return Outcome{BaseOffset: NoOffset, TopicGone: true}
	case topic.Deleted():
		return refuse(CodeTopicDeleted, "%s", topic.deletedMessage())
	}
	changed := *topic
	changed.UndeleteUntilUnixMs = max(1, now+grace)
	o := w.changedTopic(out, &changed)
	o.TopicGone = true
	return o
}

// undeleteTopic gives a deleted topic back. No clock is looked at: it can be had back for
// as long as it is not purged.
func (w *working) undeleteTopic(out *pebble.Batch, u *recordv1.UndeleteTopic) Outcome {
	topic := w.topics[u.GetName()]
	switch {
	case topic == nil:
		return refuse(CodeUnknownTopic, "topic %q does not exist (any more)", clip(u.GetName()))
	case !topic.Deleted():
		return refuse(CodeTopicNotDeleted, "topic %s is not deleted", topic.Name)
	}
	changed := *topic
	changed.UndeleteUntilUnixMs = 0
	return w.changedTopic(out, &changed)
}

// purgeDeleted removes the topics whose grace is over, those first for which it was over
// first.
func (w *working) purgeDeleted(out *pebble.Batch, c *recordv1.PurgeDeleted) Outcome {
	if n := c.GetLimit(); n == 0 || n > MaxPurge {
		return refuse(CodeLimitExceeded, "%d topics to purge at once, 1 to %d are possible", n, MaxPurge)
	}
	var due []*Topic
	for _, t := range w.topics {
		if t.Deleted() && t.UndeleteUntilUnixMs <= c.GetUpToUnixMs() {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *Topic) int {
		return cmp.Or(cmp.Compare(a.UndeleteUntilUnixMs, b.UndeleteUntilUnixMs), cmp.Compare(a.Name, b.Name))
	})
	o := Outcome{BaseOffset: NoOffset}
	for _, t := range due[:min(len(due), int(c.GetLimit()))] {
		w.purgeTopic(out, t)
		o.TopicGone = true
		o.Count++
		o.Digest = checksum(fmt.Appendf(nil, "%d %s", o.Digest, t.Name))
	}
	return o
}

// purgeTopic removes the topic and all keys of its queues. What the call has
// already put into the batch for them goes, too: it stands before.
func (w *working) purgeTopic(out *pebble.Batch, topic *Topic) {
	for _, id := range topic.Queues {
		if q := w.queues[id]; q.indexed() {
			w.dropKeyIndex(out, q)
		}
	}
	for _, b := range w.delays.of(topic) {
		w.dropDelayed(out, b)
		w.takeKeys(out, b.id)
	}
	for _, h := range w.open.of(topic) {
		w.dropHalf(out, h)
		w.takeKeys(out, h.id)
	}
	w.removeTopic(topic)
	del(out, appendTopicKey(nil, topic.Name))
	topic.runs(func(first, last QueueID) {
		delRange(out, appendBlockKey(nil, first, 0), appendBlockKey(nil, last+1, 0))
		delRange(out, appendWindowKey(nil, first, 0), appendWindowKey(nil, last+1, 0))
		delRange(out, appendTrimKey(nil, first), appendTrimKey(nil, last+1))
	})
	w.dropProgress(out, topic.Queues)
}

// topicRequestOf is requestOf for the commands about topics. A delete does not name its
// grace: a retry may meet a leader with another default.
func topicRequestOf(command *recordv1.Command) string {
	id := command.GetRequestId()
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		if c := kind.CreateTopic; validTopicName(c.GetName()) {
			index := ""
			if c.GetKeyIndex() {
				index = "+keys"
			}
			if c.Settings == nil {
				return fmt.Sprintf("create %s %d%s %s", c.GetName(), c.GetQueues(), index, id)
			}
			return fmt.Sprintf("create-with %s %d%s %s %s", c.GetName(), c.GetQueues(), index, settingsText(c.GetSettings()), id)
		}
	case *recordv1.Command_DeleteTopic:
		if validTopicName(kind.DeleteTopic.GetName()) {
			return fmt.Sprintf("delete %s %s", kind.DeleteTopic.GetName(), id)
		}
	case *recordv1.Command_AlterTopic:
		if c := kind.AlterTopic; validTopicName(c.GetName()) {
			return fmt.Sprintf("alter %s %d %s %s", c.GetName(), c.GetQueues(), settingsText(c.GetSettings()), id)
		}
	case *recordv1.Command_UndeleteTopic:
		if validTopicName(kind.UndeleteTopic.GetName()) {
			return fmt.Sprintf("undelete %s %s", kind.UndeleteTopic.GetName(), id)
		}
	}
	return ""
}

// unknownInTopics counts the fields of a command about topics that this build does not
// know.
func unknownInTopics(command *recordv1.Command) (unknown int) {
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		unknown = len(kind.CreateTopic.ProtoReflect().GetUnknown()) + len(kind.CreateTopic.GetSettings().ProtoReflect().GetUnknown())
	case *recordv1.Command_DeleteTopic:
		unknown = len(kind.DeleteTopic.ProtoReflect().GetUnknown())
	case *recordv1.Command_AlterTopic:
		unknown = len(kind.AlterTopic.ProtoReflect().GetUnknown()) + len(kind.AlterTopic.GetSettings().ProtoReflect().GetUnknown())
	case *recordv1.Command_UndeleteTopic:
		unknown = len(kind.UndeleteTopic.ProtoReflect().GetUnknown())
	case *recordv1.Command_PurgeDeleted:
		unknown = len(kind.PurgeDeleted.ProtoReflect().GetUnknown())
	case *recordv1.Command_TrimQueues:
		unknown = len(kind.TrimQueues.ProtoReflect().GetUnknown())
		for _, to := range kind.TrimQueues.GetOffsets() {
			unknown += len(to.ProtoReflect().GetUnknown())
		}
	}
	return unknown
}

// validTopicName is part of the state machine: it must not change.
func validTopicName(name string) bool {
	if len(name) == 0 || len(name) > MaxTopicNameBytes || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '%', c == '|':
		default:
			return false
		}
	}
	return true
}

// clip keeps messages short: names come from anyone.
func clip(name string) string {
	if len(name) > MaxTopicNameBytes {
		return name[:MaxTopicNameBytes] + "…"
	}
	return name
}
