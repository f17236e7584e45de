package state

// ProducerName is the name under which a producer is registered, empty for one without;
// not ok: there is no such producer (any more). Errors: ErrClosed, ErrCorrupt.
func (s *Store) ProducerName(id uint64) (name string, ok bool, err error) {
	if !s.gate.enter() {
		return "", false, ErrClosed
	}
	defer s.gate.leave()
	key := appendProducerKey(nil, id)
	value, err := s.get(key)
	if err != nil || value == nil {
		return "", false, err
	}
	p, err := parseProducer(value)
	if err != nil {
		return "", false, s.corrupt(err, "producer %d", id)
	}
	return p.name, true, nil
}
