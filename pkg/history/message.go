package history

import (
	"encoding/json"
	"fmt"
)

// Message is one message that came out of a queue.
type Message struct {
	Offset int64
	Value  string
	// Attempt of a message that was received counts its deliveries to the group, from 1; 0:
	// that was not told.
	Attempt int64
}

// MarshalJSON writes [offset, "value"] or [offset, "value", attempt].
func (m Message) MarshalJSON() ([]byte, error) {
	if m.Attempt != 0 {
		return json.Marshal([3]any{m.Offset, m.Value, m.Attempt})
	}
	return json.Marshal([2]any{m.Offset, m.Value})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Message) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	into := []any{&m.Offset, &m.Value, &m.Attempt}
	if len(parts) < 2 || len(parts) > len(into) {
		return fmt.Errorf("a message is [offset, value] or [offset, value, attempt], not %d elements", len(parts))
	}
	for i, part := range parts {
		if err := json.Unmarshal(part, into[i]); err != nil {
			return err
		}
	}
	return nil
}
