package state

import "encoding/binary"

// BlockBatches is how many batches of a queue one posting block holds. The next
// batch opens the next block, whatever Apply it comes with.
const BlockBatches = 64

// blockVersionLate is that of blocks with a batch that got its offsets later than
// by its own entry: such a block says so of each batch. All others stay version 1.
const blockVersionLate = 2

// block is a posting block: consecutive batches of one queue. Its bytes grow at
// the end; what is written stays as it is, but for the change to another version.
type block struct {
	first Offset // of its first batch
	count int    // of batches
	last  Index  // Given of its last batch
	bytes []byte // its value in the store
}

// add appends a batch. Given is stored as the distance from the batch before, and
// the first one from -1.
func (b *block) add(l Location) {
	switch {
	case b.count == 0:
		b.bytes = append(b.bytes[:0], valueVersion)
		b.last = NoIndex
		if l.late() {
			b.bytes[0] = blockVersionLate
		}
	case l.late() && b.bytes[0] == valueVersion:
		b.rewriteLate()
	}
	b.bytes = binary.AppendUvarint(b.bytes, uint64(l.Given-b.last))
	b.bytes = binary.AppendUvarint(b.bytes, uint64(l.Count))
	if b.bytes[0] == blockVersionLate {
		b.bytes = binary.AppendUvarint(b.bytes, uint64(l.Given-l.Index))
	}
	b.last = l.Given
	b.count++
}

// rewriteLate makes a block of version 1 one of version 2.
func (b *block) rewriteLate() {
	batches, err := parseBlock(nil, b.first, b.bytes)
	if err != nil {
		panic("state: an open block cannot be read")
	}
	last := NoIndex
	b.bytes = append([]byte(nil), blockVersionLate)
	for _, l := range batches {
		b.bytes = binary.AppendUvarint(b.bytes, uint64(l.Given-last))
		b.bytes = binary.AppendUvarint(b.bytes, uint64(l.Count))
		b.bytes = append(b.bytes, 0)
		last = l.Given
	}
}

// reset makes b an empty block that begins at first.
func (b *block) reset(first Offset) {
	b.first, b.count, b.last, b.bytes = first, 0, NoIndex, b.bytes[:0]
}

// parseBlock appends the batches of a block to out.
func parseBlock(out []Location, first Offset, value []byte) ([]Location, error) {
	if len(value) < 3 { // a block is written with its first batch
		return out, errValue
	}
	late := value[0] == blockVersionLate
	if !late && value[0] != valueVersion {
		return out, errValue
	}
	r := valueReader{b: value[1:]}
	given, offset := NoIndex, first
	for n := 0; len(r.b) > 0 && !r.bad; n++ {
		delta, records, back := r.int64(), r.uint32(), int64(0)
		if late {
			back = r.int64()
		}
		if delta == 0 && (n == 0 || back == 0) || records == 0 || n == BlockBatches || given+Index(delta) < given || offset < 0 {
			return out, errValue
		}
		given += Index(delta)
		if Index(back) > given {
			return out, errValue
		}
		out = append(out, Location{BaseOffset: offset, Count: records, Index: given - Index(back), Given: given})
		offset += Offset(records)
	}
	return out, r.end()
}
