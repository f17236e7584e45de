package dledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// bodyCRCBytes is the CRC-32C with which every body begins.
const bodyCRCBytes = 4

// What the body of a CONFIG_CHANGE entry may hold besides a group that is valid.
const (
	maxAddressBytes  = 512
	maxReasonBytes   = 1024
	maxRecoveries    = 64
	maxGenerationLen = 64
)

// errMembership is a body of a CONFIG_CHANGE entry that says nothing of use. A
// leader of ours writes none.
var errMembership = errors.New("not a membership")

// encodeMembership is the body of a CONFIG_CHANGE entry.
func encodeMembership(m *dledgerv1.Membership) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(make([]byte, bodyCRCBytes), m)
	if err != nil {
		return nil, fmt.Errorf("encode membership: %w", err)
	}
	binary.LittleEndian.PutUint32(body, crc32.Checksum(body[bodyCRCBytes:], castagnoli))
	return body, nil
}

// decodeMembership reads such a body, whose CRC has been verified, and refuses
// what no group can be.
func decodeMembership(body []byte) (*dledgerv1.Membership, error) {
	if len(body) < bodyCRCBytes {
		return nil, fmt.Errorf("%w: %d bytes", errMembership, len(body))
	}
	m := new(dledgerv1.Membership)
	if err := proto.Unmarshal(body[bodyCRCBytes:], m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMembership, err)
	}
	err := checkSeats(seatsFromWire(m.GetSeats()))
	if err == nil && (len(m.GetRecoveries()) > maxRecoveries || len(m.GetGeneration()) > maxGenerationLen) {
		err = fmt.Errorf("%d recoveries, generation %.80q", len(m.GetRecoveries()), m.GetGeneration())
	}
	for _, r := range m.GetRecoveries() {
		err = errors.Join(err, checkRecovery(recoveryFromWire(r)))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMembership, err)
	}
	return m, nil
}

func checkSeats(ms member.Members) error {
	if err := ms.Validate(); err != nil {
		return err
	}
	for _, s := range ms {
		if len(s.ID) > maxNameBytes || len(s.Address) > maxAddressBytes {
			return fmt.Errorf("seat of %.80q at %.80q: too long", s.ID, s.Address)
		}
	}
	return nil
}

func checkRecovery(r Recovery) error {
	if r.Generation == "" || len(r.Generation) > maxGenerationLen || len(r.Member) > maxNameBytes || len(r.Reason) > maxReasonBytes {
		return fmt.Errorf("recovery of generation %.80q on %.80q", r.Generation, r.Member)
	}
	return errors.Join(checkSeats(r.Before), checkSeats(r.After))
}

// changesIn are the changes of the group among whole entries that were verified,
// and the newest of their bodies.
func changesIn(entries []byte) (changes []member.Change, newest *dledgerv1.Membership, err error) {
	for len(entries) > 0 {
		h, body, rest, err := commitlog.NextEntry(entries)
		if err != nil {
			return nil, nil, err
		}
		entries = rest
		if h.Type != commitlog.TypeConfigChange {
			continue
		}
		if newest, err = decodeMembership(body); err != nil {
			return nil, nil, fmt.Errorf("entry %d: %w", h.Index, err)
		}
		changes = append(changes, member.Change{At: memberIndex(h.Index), Term: member.Term(h.Term), Members: seatsFromWire(newest.GetSeats())})
	}
	return changes, newest, nil
}
