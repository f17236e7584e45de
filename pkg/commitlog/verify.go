package commitlog

import "fmt"

// Summary is what Verify learned about a range of entries.
type Summary struct {
	First, Last Index
	Count       int
	Runs        []Run  // the first one begins at First
	PrevChain   uint32 // chain CRC of the entry before First, as these entries claim it
	Chain       uint32 // chain CRC of Last
	LastTime    int64  // append time of Last, unix nanoseconds
	// ConfigChanges is how many of the entries change the group.
	ConfigChanges int
}

// Verify checks everything that a range of encoded entries says about itself:
// header and body CRCs, consecutive indexes, the chain from entry to entry,
// terms that never fall. At least one entry is expected. Whether the range
// continues a given log is AppendSlave's question, or PrevChain's.
func Verify(entries []byte) (Summary, error) {
	if len(entries) == 0 {
		return Summary{}, fmt.Errorf("%w: no bytes", ErrInvalidEntry)
	}
	h, err := ParseHeader(entries)
	if err != nil {
		return Summary{}, err
	}
	s := Summary{First: h.Index, PrevChain: prevChainOf(h.ChainCRC, entries)}
	at := tip{index: h.Index - 1, term: NoTerm, chain: s.PrevChain}
	for rest := entries; len(rest) > 0; s.Count++ {
		if h, rest, err = at.next(rest); err != nil {
			return Summary{}, err
		}
		if h.Type == TypeConfigChange {
			s.ConfigChanges++
		}
		if n := len(s.Runs); n == 0 || s.Runs[n-1].Term != h.Term {
			s.Runs = append(s.Runs, Run{First: h.Index, Term: h.Term})
		}
	}
	s.Last, s.Chain, s.LastTime = at.index, at.chain, at.time
	return s, nil
}

// tip is the end of a history: its last entry, as far as the next one depends on it.
type tip struct {
	index Index
	term  Term
	chain uint32
	time  int64 // append time, unix nanoseconds
}

// next verifies the first entry of b as the continuation of the history and
// advances to it. On an error the tip stays where it was.
func (t *tip) next(b []byte) (Header, []byte, error) {
	h, body, rest, err := NextEntry(b)
	if err != nil {
		return Header{}, nil, err
	}
	if err := t.follows(h, b); err != nil {
		return Header{}, nil, err
	}
	if err := checkBody(h, body); err != nil {
		return Header{}, nil, err
	}
	t.advance(h)
	return h, rest, nil
}

func (t *tip) advance(h Header) {
	t.index, t.term, t.chain = h.Index, h.Term, h.ChainCRC
	t.time = max(t.time, h.AppendTime)
}

// follows checks index, term and chain of a header against the history.
func (t *tip) follows(h Header, header []byte) error {
	switch {
	case h.Index != t.index+1:
		return fmt.Errorf("%w: entry %d after entry %d", ErrNotContiguous, h.Index, t.index)
	case h.Term < t.term:
		return fmt.Errorf("%w: entry %d has term %d after term %d", ErrDivergence, h.Index, h.Term, t.term)
	}
	if want := chainCRC(t.chain, header); h.ChainCRC != want {
		return fmt.Errorf("%w: entry %d of term %d has chain %08x, this history makes it %08x",
			ErrDivergence, h.Index, h.Term, h.ChainCRC, want)
	}
	return nil
}
