package state

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// commandCRCBytes is the checksum in front of the command in an entry's body.
const commandCRCBytes = 4

// applyCommand carries out a command. Its error is an UnsupportedError.
func (w *working) applyCommand(out *pebble.Batch, e *Entry) (Outcome, error) {
	command, err := parseCommand(e)
	if err != nil {
		return Outcome{}, err
	}
	request := requestOf(command)
	if first, ok := w.requests.find(request); ok {
		return first, nil
	}
	if len(command.GetRequestId()) > MaxRequestIDBytes {
		return refuse(CodeLimitExceeded, "request id of %d bytes is above the limit of %d", len(command.GetRequestId()), MaxRequestIDBytes), nil
	}
	outcome, err := w.carryOut(out, e.Index, command)
	if err != nil {
		return Outcome{}, err
	}
	if request != "" {
		w.rememberRequest(out, e.Index, request, outcome)
	}
	return outcome, nil
}

// parseCommand reads the command and refuses what a newer build may have put into
// it: a field that is skipped here would be carried out elsewhere.
func parseCommand(e *Entry) (*recordv1.Command, error) {
	if len(e.Body) < commandCRCBytes {
		return nil, &UnsupportedError{Index: e.Index, What: fmt.Sprintf("a command of %d bytes", len(e.Body))}
	}
	command := new(recordv1.Command)
	if err := proto.Unmarshal(e.Body[commandCRCBytes:], command); err != nil {
		return nil, &UnsupportedError{Index: e.Index, What: "a command that cannot be read"}
	}
	unknown := len(command.ProtoReflect().GetUnknown())
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		unknown += len(kind.CreateTopic.ProtoReflect().GetUnknown())
	case *recordv1.Command_DeleteTopic:
		unknown += len(kind.DeleteTopic.ProtoReflect().GetUnknown())
	case *recordv1.Command_RegisterProducer:
		unknown += len(kind.RegisterProducer.ProtoReflect().GetUnknown())
	}
	if unknown != 0 {
		return nil, &UnsupportedError{Index: e.Index, What: "a command with unknown fields"}
	}
	return command, nil
}

// requestOf is what a retry repeats, empty if it cannot be remembered. The id
// alone is not enough, since clients choose it.
func requestOf(command *recordv1.Command) string {
	id := command.GetRequestId()
	if id == "" || len(id) > MaxRequestIDBytes {
		return ""
	}
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		if validTopicName(kind.CreateTopic.GetName()) {
			return fmt.Sprintf("create %s %d %s", kind.CreateTopic.GetName(), kind.CreateTopic.GetQueues(), id)
		}
	case *recordv1.Command_DeleteTopic:
		if validTopicName(kind.DeleteTopic.GetName()) {
			return fmt.Sprintf("delete %s %s", kind.DeleteTopic.GetName(), id)
		}
	case *recordv1.Command_RegisterProducer:
		if name := kind.RegisterProducer.GetName(); len(name) <= MaxProducerNameBytes {
			return fmt.Sprintf("register %q %s", name, id)
		}
	}
	return ""
}

func (w *working) carryOut(out *pebble.Batch, index Index, command *recordv1.Command) (Outcome, error) {
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		return w.createTopic(out, kind.CreateTopic, command.GetTimeUnixMs()), nil
	case *recordv1.Command_DeleteTopic:
		return w.deleteTopic(out, kind.DeleteTopic), nil
	case *recordv1.Command_RegisterProducer:
		return w.registerProducer(out, index, kind.RegisterProducer), nil
	}
	return Outcome{}, &UnsupportedError{Index: index, What: "a command of no known kind"}
}

func (w *working) rememberRequest(out *pebble.Batch, index Index, request string, o Outcome) {
	set(out, appendRequestKey(nil, index), appendRequest(nil, request, o))
	if forgotten, full := w.requests.add(index, request, o); full {
		del(out, appendRequestKey(nil, forgotten))
	}
}

func (w *working) createTopic(out *pebble.Batch, c *recordv1.CreateTopic, now int64) Outcome {
	name, n := c.GetName(), c.GetQueues()
	switch {
	case !validTopicName(name):
		return refuse(CodeInvalidTopicName, "topic name %q: 1 to %d letters, digits and any of . _ - %% | are allowed, but not . and .. alone",
			clip(name), MaxTopicNameBytes)
	case w.topics[name] != nil:
		o := refuse(CodeTopicExists, "topic %s exists, with %d queues", name, len(w.topics[name].Queues))
		o.Topic = w.topics[name]
		return o
	case n == 0 || n > MaxQueuesPerTopic:
		return refuse(CodeLimitExceeded, "topic %s: %d queues asked for, 1 to %d are possible", name, n, MaxQueuesPerTopic)
	case len(w.topics) >= MaxTopics:
		return refuse(CodeLimitExceeded, "there are %d topics, the limit", MaxTopics)
	case len(w.queues)+int(n) > MaxQueues:
		return refuse(CodeLimitExceeded, "there are %d queues, %d more would exceed the limit of %d", len(w.queues), n, MaxQueues)
	case w.nextQueue+QueueID(n) < w.nextQueue:
		return refuse(CodeLimitExceeded, "queue numbers are used up")
	}
	topic := &Topic{Name: name, Queues: make([]QueueID, n), CreatedUnixMs: now}
	for i := range topic.Queues {
		topic.Queues[i] = w.nextQueue
		w.nextQueue++
	}
	w.addTopic(topic)
	set(out, appendTopicKey(nil, name), topic.append(nil))
	return Outcome{BaseOffset: NoOffset, Topic: topic}
}

// deleteTopic removes the topic and all keys of its queues. What the call has
// already put into the batch for them goes, too: it stands before.
func (w *working) deleteTopic(out *pebble.Batch, d *recordv1.DeleteTopic) Outcome {
	topic := w.topics[d.GetName()]
	if topic == nil {
		return refuse(CodeUnknownTopic, "topic %q does not exist", clip(d.GetName()))
	}
	w.removeTopic(topic)
	del(out, appendTopicKey(nil, topic.Name))
	first, last := topic.Queues[0], topic.Queues[len(topic.Queues)-1]
	if int(last-first) != len(topic.Queues)-1 {
		panic(fmt.Sprintf("state: the queues of topic %s are not consecutive", topic.Name))
	}
	delRange(out, appendBlockKey(nil, first, 0), appendBlockKey(nil, last+1, 0))
	delRange(out, appendWindowKey(nil, first, 0), appendWindowKey(nil, last+1, 0))
	return Outcome{BaseOffset: NoOffset}
}

// registerProducer gives out an identity: the entry's index plus one, so unique
// for ever, or the next epoch of a named one, which fences who used it before.
func (w *working) registerProducer(out *pebble.Batch, index Index, r *recordv1.RegisterProducer) Outcome {
	name := r.GetName()
	if len(name) > MaxProducerNameBytes || !utf8.ValidString(name) {
		return refuse(CodeLimitExceeded, "producer name of %d bytes: at most %d are allowed", len(name), MaxProducerNameBytes)
	}
	id, known := w.names[name]
	p := w.producers[id]
	switch {
	case known && p.epoch == 1<<32-1:
		return refuse(CodeLimitExceeded, "producer %q has used up its epochs: choose another name", name)
	case known:
		p.epoch++
	case len(w.producers) >= MaxProducers:
		return refuse(CodeLimitExceeded, "there are %d producers, the limit", MaxProducers)
	default:
		id, p = uint64(index)+1, &producer{name: name}
		w.addProducer(id, p)
	}
	set(out, appendProducerKey(nil, id), p.append(nil))
	return Outcome{BaseOffset: NoOffset, ProducerID: id, Epoch: p.epoch}
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

// AppendCommand appends the body of a COMMAND entry to b: the command behind the
// CRC-32C of its bytes.
func AppendCommand(b []byte, command *recordv1.Command) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, command)
	if err != nil {
		return nil, fmt.Errorf("state: encode command: %w", err)
	}
	body := b[start:]
	binary.LittleEndian.PutUint32(body, checksum(body[commandCRCBytes:]))
	return b, nil
}
