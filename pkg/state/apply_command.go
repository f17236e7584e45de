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

// applyCommand carries out a command. Its error is an UnsupportedError, or one of the
// store, which is final.
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
	unknown += unknownInKeyIndex(command)
	if n, ok := unknownInGroups(command); ok {
		unknown += n
	}
	if n, ok := unknownInWork(command); ok {
		unknown += n
	}
	unknown += unknownInTopics(command)
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_RegisterProducer:
		unknown += len(kind.RegisterProducer.ProtoReflect().GetUnknown())
	case *recordv1.Command_DeliverDue:
		unknown += len(kind.DeliverDue.ProtoReflect().GetUnknown())
	case *recordv1.Command_CarryForward:
		unknown += len(kind.CarryForward.ProtoReflect().GetUnknown())
	case *recordv1.Command_Recall:
		unknown += len(kind.Recall.ProtoReflect().GetUnknown())
	case *recordv1.Command_RegisterTransactionGroup:
		unknown += len(kind.RegisterTransactionGroup.ProtoReflect().GetUnknown())
	case *recordv1.Command_EndTransaction:
		unknown += len(kind.EndTransaction.ProtoReflect().GetUnknown())
	case *recordv1.Command_GiveUpWaiting:
		unknown += len(kind.GiveUpWaiting.ProtoReflect().GetUnknown())
	case *recordv1.Command_ForgetLate:
		unknown += len(kind.ForgetLate.ProtoReflect().GetUnknown())
	case *recordv1.Command_ExpireProducers:
		unknown += len(kind.ExpireProducers.ProtoReflect().GetUnknown())
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
	case *recordv1.Command_RegisterProducer:
		if name := kind.RegisterProducer.GetName(); len(name) <= MaxProducerNameBytes {
			return fmt.Sprintf("register %q %s", name, id)
		}
	case *recordv1.Command_Recall:
		return fmt.Sprintf("recall %d %d %s", kind.Recall.GetId(), kind.Recall.GetQueue(), id)
	}
	if request := topicRequestOf(command); request != "" {
		return request
	}
	return groupRequestOf(command)
}

func (w *working) carryOut(out *pebble.Batch, index Index, command *recordv1.Command) (Outcome, error) {
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_RegisterProducer:
		return w.registerProducer(out, index, kind.RegisterProducer), nil
	case *recordv1.Command_DeliverDue:
		return w.deliverDue(out, index, kind.DeliverDue), nil
	case *recordv1.Command_CarryForward:
		return w.carryForward(out, index, kind.CarryForward), nil
	case *recordv1.Command_Recall:
		return w.recall(out, kind.Recall), nil
	case *recordv1.Command_RegisterTransactionGroup:
		return w.registerGroup(out, kind.RegisterTransactionGroup), nil
	case *recordv1.Command_EndTransaction:
		return w.endTransaction(out, index, kind.EndTransaction), nil
	case *recordv1.Command_SetKeyIndex:
		return w.setKeyIndex(out, kind.SetKeyIndex), nil
	case *recordv1.Command_TrimKeyIndex:
		return w.trimKeyIndex(out, kind.TrimKeyIndex), nil
	case *recordv1.Command_GiveUpWaiting:
		return w.giveUpWaiting(out, index, kind.GiveUpWaiting), nil
	case *recordv1.Command_ForgetLate:
		return w.forgetLate(out, index, kind.ForgetLate), nil
	case *recordv1.Command_ExpireProducers:
		return w.expireProducers(out, kind.ExpireProducers), nil
	}
	if o, ok, err := w.carryOutTopic(out, index, command); ok {
		return o, err
	}
	if o, ok := w.carryOutGroup(out, index, command); ok {
		return o, nil
	}
	if o, ok := w.carryOutWork(out, index, command); ok {
		return o, nil
	}
	return Outcome{}, &UnsupportedError{Index: index, What: "a command of no known kind"}
}

func (w *working) rememberRequest(out *pebble.Batch, index Index, request string, o Outcome) {
	set(out, appendRequestKey(nil, index), appendRequest(nil, request, o))
	if forgotten, full := w.requests.add(index, request, o); full {
		del(out, appendRequestKey(nil, forgotten))
	}
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
	case known && r.GetContinuesId() != 0 && (r.GetContinuesId() != id || r.GetContinuesEpoch() != p.epoch):
		return refuse(CodeProducerFenced, "producer %q has id %d and epoch %d by now: another process has taken its name", name, id, p.epoch)
	case known && p.epoch == 1<<32-1:
		return refuse(CodeLimitExceeded, "producer %q has used up its epochs: choose another name", name)
	case known:
		p.epoch++
	case len(w.producers) >= MaxProducers:
		return refuse(CodeLimitExceeded, "there are %d producers, the limit", MaxProducers)
	case r.GetKnown():
		return refuse(CodeTooManyProducers, "producer %q is not known, and there is no room for another: there are %d", name, len(w.producers))
	default:
		id, p = uint64(index)+1, &producer{name: name}
		w.addProducer(id, p)
	}
	if w.usesFrom != 0 {
		p.used = w.now
	}
	w.storeProducer(out, id, p)
	return Outcome{BaseOffset: NoOffset, ProducerID: id, Epoch: p.epoch}
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
