package rolechange

import (
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// BrokerRole is what a broker is to its clients.
type BrokerRole uint8

// The broker roles. The zero value is none of them.
const (
	Slave BrokerRole = iota + 1
	Master
)

// String returns the role as RocketMQ writes it.
func (r BrokerRole) String() string {
	switch r {
	case Slave:
		return "SLAVE"
	case Master:
		return "MASTER"
	}
	return fmt.Sprintf("BrokerRole(%d)", uint8(r))
}

// Change is a broker role and the term in which it holds.
type Change struct {
	Role BrokerRole
	Term member.Term
}

// Of returns the change of broker role that a member's change of role means: a
// leader is MASTER, everyone else SLAVE.
func Of(rc member.RoleChange) Change {
	if rc.Role == member.Leader {
		return Change{Role: Master, Term: rc.Term}
	}
	return Change{Role: Slave, Term: rc.Term}
}
