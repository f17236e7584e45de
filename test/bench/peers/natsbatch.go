package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// natsBatchPublisher speaks JetStream's fast batch publishing (a stream with
// allow_batched): one acknowledgement for each group of messages, with the group
// size chosen by the server. A batch is committed when nothing was published for
// a moment, so this is for throughput and says nothing about a lone message.
type natsBatchPublisher struct {
	nc             *nats.Conn
	subject, inbox string
	onAck          AckFunc

	mu      sync.Mutex
	id      int               // of the batch that is open
	seq     uint64            // of the last message sent in it
	pending map[int]*ackQueue // by batch
	last    time.Time
	closed  bool
}

type ackQueue struct {
	acked    uint64
	payloads [][]byte
}

const (
	batchFlow  = 200 // messages for each acknowledgement, at most
	batchQuiet = 5 * time.Millisecond
	opStart    = 0
	opAppend   = 1
	opCommit   = 3 // without a message of its own
)

func newNatsBatchPublisher(nc *nats.Conn, log string, onAck AckFunc) (*natsBatchPublisher, error) {
	p := &natsBatchPublisher{nc: nc, subject: "bench." + log, inbox: nats.NewInbox(), onAck: onAck, pending: map[int]*ackQueue{}}
	if _, err := nc.Subscribe(p.inbox+".>", p.ack); err != nil {
		return nil, err
	}
	go p.commitWhenQuiet()
	return p, nil
}

func (p *natsBatchPublisher) reply(op int) string {
	return fmt.Sprintf("%s.b%d.%d.fail.%d.%d.$FI", p.inbox, p.id, batchFlow, p.seq, op)
}

func (p *natsBatchPublisher) Publish(payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	op := opAppend
	if p.seq == 1 {
		p.id++
		op = opStart
		p.pending[p.id] = &ackQueue{}
	}
	q := p.pending[p.id]
	if q == nil {
		return errors.New("batch failed")
	}
	q.payloads = append(q.payloads, payload)
	p.last = time.Now()
	return p.nc.PublishRequest(p.subject, p.reply(op), payload)
}

func (p *natsBatchPublisher) commitWhenQuiet() {
	for {
		pause(batchQuiet)
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return
		}
		if p.seq > 0 && time.Since(p.last) > batchQuiet {
			p.seq++
			p.nc.PublishRequest(p.subject, p.reply(opCommit), nil)
			p.seq = 0
		}
		p.mu.Unlock()
	}
}

func (p *natsBatchPublisher) ack(m *nats.Msg) {
	var a struct {
		Type  string // "ack" for part of a batch, none for the whole
		Seq   uint64
		Count uint64
		Error json.RawMessage
	}
	var id int
	_, rest, _ := strings.Cut(m.Subject, p.inbox+".b")
	_, err := fmt.Sscanf(rest, "%d.", &id)
	if err == nil {
		err = json.Unmarshal(m.Data, &a)
	}
	if err == nil && (a.Error != nil || a.Type == "gap" || a.Type == "err") {
		err = fmt.Errorf("batch: %s", m.Data)
	}
	p.mu.Lock()
	q := p.pending[id]
	if q == nil {
		p.mu.Unlock()
		return
	}
	upTo := a.Seq
	if a.Type == "" {
		upTo = a.Count
		delete(p.pending, id)
	}
	if err != nil {
		upTo = q.acked + uint64(len(q.payloads))
		delete(p.pending, id)
	}
	var done [][]byte
	if upTo > q.acked {
		n := upTo - q.acked
		done, q.payloads, q.acked = q.payloads[:n], q.payloads[n:], upTo
	}
	p.mu.Unlock()
	for _, b := range done {
		p.onAck(b, err)
	}
}

func (p *natsBatchPublisher) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.nc.Close()
}
