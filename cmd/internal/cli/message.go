package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// JSONMessage is a message as one line of JSON. What is not UTF-8 stands in
// base64 in the field of that name, so that writing and reading it is exact.
type JSONMessage struct {
	Topic       string  `json:"topic,omitempty"`
	Queue       *int    `json:"queue,omitempty"`
	Offset      *int64  `json:"offset,omitempty"`
	TimestampMS *int64  `json:"timestamp_ms,omitempty"`
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"key_base64,omitempty"`
	Tag         string  `json:"tag,omitempty"`
	MessageID   string  `json:"message_id,omitempty"`
	// MessageGroup is the group in whose order the message stands.
	MessageGroup string       `json:"message_group,omitempty"`
	Headers      []JSONHeader `json:"headers,omitempty"`
	Value        *string      `json:"value,omitempty"`
	ValueBase64  []byte       `json:"value_base64,omitempty"`
	DeliverAtMS  *int64       `json:"deliver_at_ms,omitempty"`
	LedgerIndex  int64        `json:"ledger_index,omitempty"`
	Term         int64        `json:"term,omitempty"`
}

// JSONHeader is one user header.
type JSONHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// ToJSON translates a consumed message.
func ToJSON(m *client.Message) *JSONMessage {
	ms := m.Timestamp.UnixMilli()
	j := &JSONMessage{
		Topic: m.Topic, Queue: m.Queue, Offset: &m.Offset, TimestampMS: &ms,
		Tag: m.Tag, MessageID: m.ID, MessageGroup: m.MessageGroup, LedgerIndex: m.LedgerIndex, Term: m.Term,
	}
	if !m.DeliverAt.IsZero() {
		at := m.DeliverAt.UnixMilli()
		j.DeliverAtMS = &at
	}
	if m.Key != nil {
		j.Key, j.KeyBase64 = SplitText(m.Key)
	}
	j.Value, j.ValueBase64 = SplitText(m.Value)
	for _, h := range m.Headers {
		jh := JSONHeader{Key: h.Key}
		jh.Value, jh.ValueBase64 = SplitText(h.Value)
		j.Headers = append(j.Headers, jh)
	}
	return j
}

// SplitText returns what is UTF-8 as text, and anything else as it is, for base64.
func SplitText(b []byte) (*string, []byte) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	return nil, b
}

// FromJSON reads one line. Fields that a broker gives (topic, offset, term,
// ledger_index) are ignored; unknown ones are an error.
func FromJSON(line []byte) (client.Message, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var j JSONMessage
	if err := dec.Decode(&j); err != nil {
		return client.Message{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return client.Message{}, errors.New("more than one JSON value in the line")
	}
	m := client.Message{Queue: j.Queue, Tag: j.Tag, ID: j.MessageID, MessageGroup: j.MessageGroup}
	var err error
	if j.Key != nil || j.KeyBase64 != nil {
		m.Key, err = join("key", j.Key, j.KeyBase64)
	}
	if err == nil {
		m.Value, err = join("value", j.Value, j.ValueBase64)
	}
	for _, h := range j.Headers {
		if err != nil {
			break
		}
		mh := client.Header{Key: h.Key}
		mh.Value, err = join("value of header "+h.Key, h.Value, h.ValueBase64)
		m.Headers = append(m.Headers, mh)
	}
	if j.TimestampMS != nil {
		m.Timestamp = time.UnixMilli(*j.TimestampMS)
	}
	if j.DeliverAtMS != nil {
		m.DeliverAt = time.UnixMilli(*j.DeliverAtMS)
	}
	return m, err
}

func join(name string, text *string, raw []byte) ([]byte, error) {
	switch {
	case text != nil && raw != nil:
		return nil, fmt.Errorf("both %s and %s_base64 are given", name, name)
	case text != nil:
		return []byte(*text), nil
	case raw != nil:
		return raw, nil
	}
	return nil, fmt.Errorf("no %s", name)
}
