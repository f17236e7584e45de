package state

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

const (
	// keyBucketShift: the postings of 262,144 offsets of a queue stand together, so that
	// they are dropped as one range when those messages are purged.
	keyBucketShift = 18
	// maxWaitingKeys is how many different keys of a batch that waits are remembered in
	// memory. One with more is posted as one that may hold any key.
	maxWaitingKeys = 8
)

// KeyHash is what the key index knows of a key, or of a message id.
type KeyHash uint32

// anyKey marks batches of which every key must be expected: their records cannot be
// read, they waited with too many keys, or they are copies. No key has it as its hash.
const anyKey KeyHash = 0

// The seeds keep keys and ids apart.
const (
	keySeed = 0x6b657900
	idSeed  = 0x69640000
)

// HashKey is the hash of a message's key.
func HashKey(key []byte) KeyHash { return keyHash(keySeed, key) }

// HashMessageID is the hash of the id that a message's sender gave it.
func HashMessageID(id string) KeyHash { return keyHash(idSeed, []byte(id)) }

func keyHash(seed uint32, text []byte) KeyHash {
	return max(1, KeyHash(crc32.Update(seed, castagnoli, text)))
}

// keyIndexer is what Apply needs to look into batches. Only batches of queues with a key
// index are looked into.
type keyIndexer struct {
	reader *batch.Reader
	record batch.Record
	hashes []KeyHash // scratch
	// waiting are the keys of the batches that have no offsets yet, by id.
	waiting map[Index][]KeyHash
}

func newKeyIndexer() keyIndexer {
	return keyIndexer{reader: batch.NewReader(nil), waiting: make(map[Index][]KeyHash)}
}

// hashesOf returns the different hashes of a batch's keys and ids in order; anyKey alone
// if its records cannot be read. The slice is used again.
func (k *keyIndexer) hashesOf(body []byte) []KeyHash {
	hashes := k.hashes[:0]
	defer func() { k.hashes, k.record = hashes[:0], batch.Record{} }()
	if k.reader.Reset(body) == nil {
		for k.reader.Next(&k.record) {
			if k.record.Key != nil {
				hashes = append(hashes, HashKey(k.record.Key))
			}
			if k.record.MessageID != "" {
				hashes = append(hashes, HashMessageID(k.record.MessageID))
			}
		}
	}
	if k.reader.Err() != nil {
		hashes = append(hashes[:0], anyKey)
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	return hashes
}

// indexKeys posts the keys of a batch that got its offsets, or remembers them for one
// that waits.
func (w *working) indexKeys(out *pebble.Batch, body []byte, o *Outcome) {
	q := w.queues[o.Queue]
	if !q.indexed() {
		return
	}
	hashes := w.keys.hashesOf(body)
	if !o.Waits {
		w.postKeys(out, q, o.BaseOffset, hashes)
		return
	}
	if len(hashes) > maxWaitingKeys {
		hashes = []KeyHash{anyKey}
	}
	hashes = slices.Clone(hashes)
	w.keys.waiting[o.Handle] = hashes
	w.key = appendWaitingKeysKey(w.key[:0], o.Handle)
	w.value = appendHashes(w.value[:0], hashes)
	set(out, w.key, w.value)
}

func (w *working) postKeys(out *pebble.Batch, q *queue, base Offset, hashes []KeyHash) {
	for _, h := range hashes {
		w.key = appendPostingKey(w.key[:0], q.id, base>>keyBucketShift, h, base)
		set(out, w.key, nil)
	}
}

// takeKeys forgets the keys of a batch that waits no longer.
func (w *working) takeKeys(out *pebble.Batch, id Index) (hashes []KeyHash, known bool) {
	hashes, known = w.keys.waiting[id]
	if known {
		delete(w.keys.waiting, id)
		w.key = appendWaitingKeysKey(w.key[:0], id)
		del(out, w.key)
	}
	return hashes, known
}

// postWaited posts the keys of a batch that has waited. Of one that came before the
// index they are not known.
func (w *working) postWaited(out *pebble.Batch, id Index, queue QueueID, base Offset) {
	hashes, known := w.takeKeys(out, id)
	if !known {
		hashes = []KeyHash{anyKey}
	}
	if q := w.queues[queue]; q.indexed() {
		w.postKeys(out, q, base, hashes)
	}
}

// postCopy posts a copy that another entry holds. Its keys are not known.
func (w *working) postCopy(out *pebble.Batch, q *queue, base Offset) {
	if q.indexed() {
		w.postKeys(out, q, base, []KeyHash{anyKey})
	}
}

func (w *working) setKeyIndex(out *pebble.Batch, c *recordv1.SetKeyIndex) Outcome {
	topic := w.topics[c.GetTopic()]
	if topic == nil {
		return refuse(CodeUnknownTopic, "topic %q does not exist", clip(c.GetTopic()))
	}
	for _, id := range topic.Queues {
		switch q := w.queues[id]; {
		case c.GetOn() && !q.indexed():
			w.beginKeyIndex(out, q, q.end)
		case !c.GetOn() && q.indexed():
			w.dropKeyIndex(out, q)
		}
	}
	return Outcome{BaseOffset: NoOffset}
}

// beginKeyIndex says that the index of q knows all messages from an offset on.
func (w *working) beginKeyIndex(out *pebble.Batch, q *queue, from Offset) {
	q.keysFrom.Store(int64(from))
	w.key = appendKeyIndexKey(w.key[:0], q.id)
	w.value = binary.AppendUvarint(append(w.value[:0], valueVersion), uint64(from))
	set(out, w.key, w.value)
}

func (w *working) dropKeyIndex(out *pebble.Batch, q *queue) {
	q.keysFrom.Store(int64(NoOffset))
	w.key = appendKeyIndexKey(w.key[:0], q.id)
	del(out, w.key)
	delRange(out, appendPostingKey(nil, q.id, 0, 0, 0), appendPostingKey(nil, q.id+1, 0, 0, 0))
}

// trimKeyIndex drops the buckets that lie as a whole below the offsets.
func (w *working) trimKeyIndex(out *pebble.Batch, c *recordv1.TrimKeyIndex) Outcome {
	if n := len(c.GetOffsets()); n == 0 || n > MaxTrim {
		return refuse(CodeLimitExceeded, "%d queues to trim, 1 to %d are possible", n, MaxTrim)
	}
	for _, at := range c.GetOffsets() {
		q := w.queues[QueueID(at.GetQueueId())]
		if q == nil || !q.indexed() {
			continue
		}
		bucket := min(Offset(at.GetOffset()), q.end) >> keyBucketShift
		if from := bucket << keyBucketShift; from > Offset(q.keysFrom.Load()) {
			w.beginKeyIndex(out, q, from)
			delRange(out, appendPostingKey(nil, q.id, 0, 0, 0), appendPostingKey(nil, q.id, bucket, 0, 0))
		}
	}
	return Outcome{BaseOffset: NoOffset}
}

// unknownInKeyIndex counts the fields of a command about key indexes that this build does
// not know.
func unknownInKeyIndex(command *recordv1.Command) (unknown int) {
	switch kind := command.GetKind().(type) {
	case *recordv1.Command_SetKeyIndex:
		return len(kind.SetKeyIndex.ProtoReflect().GetUnknown())
	case *recordv1.Command_TrimKeyIndex:
		unknown = len(kind.TrimKeyIndex.ProtoReflect().GetUnknown())
		for _, at := range kind.TrimKeyIndex.GetOffsets() {
			unknown += len(at.ProtoReflect().GetUnknown())
		}
	}
	return unknown
}
