package dledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// maxNameBytes bounds cluster id, group and member ids: they are in every
// ballot slot and every request.
const maxNameBytes = 254

// Config is what a Server is told once.
type Config struct {
	// Dir holds the ballot file and the directory "commitlog". It exists.
	Dir string
	// Fresh says that the data directory was created just now. Only then may the
	// ballot be missing; at any other time a missing ballot is a lost vote.
	Fresh bool
	// ClusterID and Group name what this member belongs to; every request of a
	// peer must carry the same. 1 to 254 bytes each.
	ClusterID, Group string
	// ID is this member's own id, one of Peers unless Joining is set.
	ID member.ID
	// Incarnation names this data directory; a wiped member gets a new one.
	Incarnation string
	// Peers maps every member of the group as it began, this one included, to the
	// host:port of its peer listener. It counts only until the group has lived: from
	// then on the members file does, and changes are asked for with ChangeMembers.
	Peers map[member.ID]string
	// Addresses are of members, this one too, that have moved since the group was told
	// where they are: they count instead of what the group knows, for this member only.
	Addresses map[member.ID]string
	// Joining says that this member is not of the group yet: Peers are those that are,
	// and this one waits until their leader adds it. It counts as Peers does.
	Joining bool
	// ClientAddr is the address that clients use to reach this broker. Peers
	// learn it and pass it on.
	ClientAddr string

	// Member holds the timing of the protocol and Bootstrap. ID, Incarnation, Peers and
	// Rand are filled in.
	Member member.Config
	// MaintainInterval is the tick of the state maintainer. Default 10 ms.
	MaintainInterval time.Duration
	// RPCTimeout bounds each vote, heartbeat and transfer request. Default:
	// the election timeout.
	RPCTimeout time.Duration

	// Log configures the commit log. Dir, ClusterID, Group, MemberID, Logger and
	// Registerer are filled in; so is TolerateDamage in a group of more than one.
	Log commitlog.Config

	// MaxPendingProposals and MaxPendingBytes bound the proposals that wait for a
	// quorum; MaxPendingBytes also bounds what waits for this member's own disk.
	// Beyond them Propose refuses with LEADER_PENDING_FULL. Defaults 16384 and
	// 64 MiB.
	MaxPendingProposals int
	MaxPendingBytes     int64
	// MaxPushBytes bounds the entries of one push; one larger entry still goes
	// alone. Default 512 KiB.
	MaxPushBytes int
	// MaxInboundBytes bounds the entries received from one peer that are not yet
	// on disk; beyond it the stream is not read. Default 32 MiB.
	MaxInboundBytes int64
	// InboundBytes says it instead for a group with so many peers; nil: the same for all.
	// It is asked at the start and when their number may have changed, by one goroutine
	// at a time, and must return at once.
	InboundBytes func(peers int) int64

	// FetchRate bounds, in bytes per second and peer, the entries that this member
	// lends to a peer whose disk has lost them. Default 32 MiB.
	FetchRate int64
	// ScrubRate is how many bytes per second of the sealed commit log are read and
	// verified in the background; after each pass over all of it there is a pause
	// of ScrubPause. Defaults: 0, which means never, and 10 minutes. Without a scrub Open
	// reads and verifies all of the log.
	ScrubRate  int64
	ScrubPause time.Duration

	// PeerCredentials secure the connections to peers; the authority that they are
	// asked for is the peer's id. Nil: plain text.
	PeerCredentials credentials.TransportCredentials
	// Dial opens a connection to a peer. Nil: TCP with TCP_USER_TIMEOUT.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// OnRole is told every change of role, term or leader, in order, from the
	// state maintainer: it must not block. Nil: nobody.
	OnRole func(member.RoleChange)
	// OnNeedsSeed is told, from a handler, that the leader says this member lacks
	// entries that are purged; again and again while that is so. It must not block.
	// Nil: nobody.
	OnNeedsSeed func(leader member.ID)

	// OnSpace is told that the commit log cannot get its next segment because the
	// disk is full, and, with nil, that it has it. It must not block. Nil: nobody.
	OnSpace func(err error)

	// Logger receives decisions, not entries. Default: slog.Default.
	Logger *slog.Logger
	// Registerer receives the metrics. Nil: none are exported.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.MaintainInterval == 0 {
		c.MaintainInterval = 10 * time.Millisecond
	}
	if c.RPCTimeout == 0 {
		c.RPCTimeout = electionTimeout(c.Member)
	}
	if c.MaxPendingProposals == 0 {
		c.MaxPendingProposals = 16384
	}
	if c.MaxPendingBytes == 0 {
		c.MaxPendingBytes = 64 << 20
	}
	if c.MaxPushBytes == 0 {
		c.MaxPushBytes = 512 << 10
	}
	if c.MaxInboundBytes == 0 {
		c.MaxInboundBytes = 32 << 20
	}
	if c.FetchRate == 0 {
		c.FetchRate = 32 << 20
	}
	if c.ScrubPause == 0 {
		c.ScrubPause = 10 * time.Minute
	}
	if c.PeerCredentials == nil {
		c.PeerCredentials = insecure.NewCredentials()
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.OnNeedsSeed == nil {
		c.OnNeedsSeed = func(member.ID) {}
	}
	if c.OnRole == nil {
		c.OnRole = func(member.RoleChange) {}
	}
	if c.OnSpace == nil {
		c.OnSpace = func(error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("member", string(c.ID))
	return c
}

// electionTimeout is the time without a leader after which a follower acts, with
// the defaults of member.Config.
func electionTimeout(c member.Config) time.Duration {
	interval, leak := c.HeartBeatInterval, c.MaxHeartBeatLeak
	if interval == 0 {
		interval = 100 * time.Millisecond
	}
	if leak == 0 {
		leak = 5
	}
	return interval * time.Duration(leak)
}

func (c Config) validate() error {
	if c.Dir == "" {
		return errors.New("dledger: no data directory given")
	}
	names := []struct{ what, name string }{
		{"cluster id", c.ClusterID}, {"group", c.Group}, {"member id", string(c.ID)}, {"incarnation", c.Incarnation},
	}
	for _, n := range names {
		if n.name == "" || len(n.name) > maxNameBytes {
			return fmt.Errorf("dledger: %s %q must have 1 to %d bytes", n.what, n.name, maxNameBytes)
		}
	}
	if _, ok := c.Peers[c.ID]; !ok && !c.Joining {
		return fmt.Errorf("dledger: member %s is not among the peers of its group", c.ID)
	}
	for id, addr := range c.Peers {
		if id == "" || len(id) > maxNameBytes {
			return fmt.Errorf("dledger: peer id %q must have 1 to %d bytes", id, maxNameBytes)
		}
		if id != c.ID && addr == "" {
			return fmt.Errorf("dledger: peer %s has no address", id)
		}
	}
	return nil
}

// memberIDs are the ids of the group in a fixed order.
func (c Config) memberIDs() []member.ID {
	ids := make([]member.ID, 0, len(c.Peers))
	for id := range c.Peers {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}

// members is the group that the configuration names, without this member if it is
// yet to join.
func (c Config) members() member.Members {
	var ms member.Members
	for _, id := range c.memberIDs() {
		if c.Joining && id == c.ID {
			continue
		}
		ms = append(ms, member.Seat{ID: id, Address: c.Peers[id]})
	}
	return ms
}
