package state

import "encoding/binary"

// BlockBatches is how many batches of a queue one posting block holds. The next
// batch opens the next block, whatever Apply it comes with.
const BlockBatches = 64

// block is a posting block: consecutive batches of one queue. Its bytes grow at
// the end; what is written stays as it is.
type block struct {
	first Offset // of its first batch
	count int    // of batches
	last  Index  // of its last batch
	bytes []byte // its value in the store
}

// add appends a batch. Indexes are stored as distances: from the batch before,
// and the first one from -1, so that a distance is never 0.
func (b *block) add(index Index, records uint32) {
	if b.count == 0 {
		b.bytes = append(b.bytes[:0], valueVersion)
		b.last = NoIndex
	}
	b.bytes = binary.AppendUvarint(b.bytes, uint64(index-b.last))
	b.bytes = binary.AppendUvarint(b.bytes, uint64(records))
	b.last = index
	b.count++
}

// reset makes b an empty block that begins at first.
func (b *block) reset(first Offset) {
	b.first, b.count, b.last, b.bytes = first, 0, NoIndex, b.bytes[:0]
}

// parseBlock appends the batches of a block to out.
func parseBlock(out []Location, first Offset, value []byte) ([]Location, error) {
	r := valueReader{b: value}
	r.version()
	index, offset := NoIndex, first
	for n := 0; len(r.b) > 0 && !r.bad; n++ {
		delta, records := r.int64(), r.uint32()
		if delta == 0 || records == 0 || n == BlockBatches || index+Index(delta) < index || offset < 0 {
			return out, errValue
		}
		index += Index(delta)
		out = append(out, Location{BaseOffset: offset, Count: records, Index: index})
		offset += Offset(records)
	}
	if len(value) < 3 { // a block is written with its first batch
		return out, errValue
	}
	return out, r.end()
}
