package broker

import (
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// Durability says what a member must have done with an entry before it counts
// towards the quorum that acknowledges it.
type Durability string

// The durabilities. An acknowledgement in page-cache mode survives a killed
// process, not a power cut of a majority.
const (
	QuorumFsync Durability = "quorum-fsync"
	PageCache   Durability = "page-cache"
)

// Config is what a broker is told once. The zero value of a field means its
// default; DefaultConfig returns them all. The yaml tags are the keys of the
// configuration file (docs/configuration.md).
type Config struct {
	Node       NodeConfig       `yaml:"node"`
	Cluster    ClusterConfig    `yaml:"cluster"`
	Listen     ListenConfig     `yaml:"listen"`
	Advertise  AdvertiseConfig  `yaml:"advertise"`
	Raft       RaftConfig       `yaml:"raft"`
	Durability DurabilityConfig `yaml:"durability"`
	Storage    StorageConfig    `yaml:"storage"`
	Retention  RetentionConfig  `yaml:"retention"`
	Topics     TopicsConfig     `yaml:"topics"`
	// Transactions says when producers are asked how a transaction ends.
	Transactions TransactionConfig `yaml:"transactions"`
	// Producers says what becomes of producers that are not used.
	Producers ProducersConfig `yaml:"producers"`
	Limits    LimitsConfig    `yaml:"limits"`
	TLS       TLSConfig       `yaml:"tls"`
	Log       LogConfig       `yaml:"log"`
	// Insecure allows plain text on addresses other than loopback. Default false:
	// a broker without certificates is reachable from its own machine only.
	Insecure bool `yaml:"insecure"`

	// Groups is how the members of consumer groups are kept; for tests.
	Groups GroupTiming `yaml:"-"`
	// ClockSettles is for how long the wall clock must have run steadily before topics are
	// trimmed and removed by it; for tests. Default 10 min.
	ClockSettles time.Duration `yaml:"-"`
	// Logger takes the broker's log lines. Default: slog.Default().
	Logger *slog.Logger `yaml:"-"`
	// Version and Revision are what status and metrics report. Default "devel".
	Version  string `yaml:"-"`
	Revision string `yaml:"-"`
	// Listeners are sockets that are open already, for whoever has to know the
	// ports before the brokers start. Each one that is set stands in for its listen
	// address; the broker takes it over and closes it.
	Listeners Listeners `yaml:"-"`
	// Fatal ends the process, at once and without returning, when that cannot be done in
	// order: the state store cannot go on and holds its locks. Nil: panic.
	Fatal func(error) `yaml:"-"`
	// LedgerFS is the file system under the commit log, for tests of disks that
	// fail. Nil: the operating system's.
	LedgerFS commitlog.FS `yaml:"-"`
	// Statfs says how full the file system of a directory is, for tests of full
	// disks. Nil: statfs(2).
	Statfs func(dir string) (FileSystem, error) `yaml:"-"`
	// MemoryInUse says how many bytes this process holds, for tests of short memory. Nil:
	// as the runtime says.
	MemoryInUse func() uint64 `yaml:"-"`

	ownProcess bool // LimitMemory was called: the process is this broker's
}

// Listeners are open sockets, nil where the broker shall listen by itself.
type Listeners struct {
	Client, Peer, HTTP net.Listener
}

// NodeConfig says who this broker is and where it keeps its data.
type NodeConfig struct {
	// ID is the member id, unique in the cluster: 1 to 64 of a-z A-Z 0-9 . _ -
	// Default "n1".
	ID string `yaml:"id"`
	// Data is the directory of ledger and state. It belongs to one member of one
	// cluster and to one process at a time. Default "./data".
	Data string `yaml:"data"`
}

// ClusterConfig says whom this broker works with.
type ClusterConfig struct {
	// ID names the cluster. Members of another cluster, and data directories of
	// one, are refused. Default "ledgermq".
	ID string `yaml:"id"`
	// Peers maps each member's id, this one's too, to its peer address. 1 to 9
	// members; an even number survives no more failures than one less. Default
	// empty: this broker is a group of its own. It says how the group begins: once that
	// has lived, members come and go by `broker admin member` only.
	Peers map[string]string `yaml:"peers"`
	// Addresses are peer addresses of members that have moved, this one too, since the
	// group was told where they are: this broker uses them instead. It is for the day
	// on which too many move at once for one after the other to be removed and added
	// again. Default empty.
	Addresses map[string]string `yaml:"addresses"`
	// Join makes a broker with a new data directory wait until it is added to a group
	// that lives: Peers are the members of that, this one may be among them for its
	// address. Default false. It counts for nothing once the broker was added.
	Join bool `yaml:"join"`
	// Bootstrap lets a majority of members with new data directories begin a new
	// group without the rest. Default false: a new group begins when all its members
	// have been there once. Only for the first start: left on, two of three members
	// that lost their disks begin an empty group beside the one that holds everything.
	Bootstrap bool `yaml:"bootstrap"`
}

// ListenConfig holds the addresses to listen on, HOST:PORT; port 0 picks a free one.
type ListenConfig struct {
	// Client is for producers, consumers and tools. Default 127.0.0.1:10911.
	Client string `yaml:"client"`
	// Peer is for the other members. Default: this member's address in
	// cluster.peers, or 127.0.0.1:40911.
	Peer string `yaml:"peer"`
	// HTTP is for metrics and health. Default 127.0.0.1:8911.
	HTTP string `yaml:"http"`
}

// AdvertiseConfig holds the addresses that are told to others.
type AdvertiseConfig struct {
	// Client is the address that clients are sent to when this broker leads.
	// Default: the client address listened on, with the host's name for a wildcard.
	Client string `yaml:"client"`
}

// RaftConfig is the timing of elections. All members should have the same.
type RaftConfig struct {
	// Heartbeat is how often a leader tells its followers that it lives: 5 ms to
	// 10 s, default 100 ms. Shorter finds a dead leader sooner and costs messages.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// MaxHeartbeatLeak times Heartbeat is the election timeout: 5 to 1000, default
	// 5. Less would depose leaders for a hiccup of the network or the scheduler.
	MaxHeartbeatLeak int `yaml:"max_heartbeat_leak"`
	// MinVoteInterval and MaxVoteInterval bound the random wait between two vote
	// rounds; defaults 30 and 150 ms. Too narrow a range splits votes.
	MinVoteInterval time.Duration `yaml:"min_vote_interval"`
	MaxVoteInterval time.Duration `yaml:"max_vote_interval"`
	// PreferredLeader is the member that leads when it can. Default: nobody.
	PreferredLeader string `yaml:"preferred_leader"`
}

// DurabilityConfig says what an acknowledgement proves.
type DurabilityConfig struct {
	// Ack is quorum-fsync (default) or page-cache, which acknowledges what a
	// majority holds in memory: a power cut of that majority loses it.
	Ack Durability `yaml:"ack"`
}

// StorageConfig shapes the files.
type StorageConfig struct {
	// SegmentBytes is the size of a commit log file: 1 MiB to 4 GiB, default
	// 256 MiB. Space is given back a segment at a time.
	SegmentBytes Size `yaml:"segment_bytes"`
	// TailCacheBytes is how much of the newest ledger is kept in memory for
	// followers and consumers: default a sixteenth of limits.memory, 8 to 64 MiB.
	TailCacheBytes Size `yaml:"tail_cache_bytes"`
	// StateCacheBytes is the block cache of the state store; default as above.
	StateCacheBytes Size `yaml:"state_cache_bytes"`
	// SeedRate bounds what members that are seeded read from this one, all together,
	// in bytes per second: 1 MiB to 64 GiB, default 64 MiB. More costs disk and
	// network that clients need, less keeps a member away for longer.
	SeedRate Size `yaml:"seed_rate"`
	// ScrubRate is how many bytes per second of the sealed commit log are read
	// and verified in the background, so that damage is found while other members
	// have good copies: 64 KiB to 1 GiB, or RateOff; default 8 MiB. With RateOff each
	// start reads and verifies all of it instead.
	ScrubRate Rate `yaml:"scrub_rate"`
	// DiskWarnAt is when a warning is logged: a share of the disk in use, or, as a
	// size, the bytes left. Default 85%.
	DiskWarnAt DiskMark `yaml:"disk_warn_at"`
	// DiskReadOnlyAt is when this member refuses what would make its ledger grow, with
	// DISK_FULL, and leaves the leadership to a member whose disk is not full. It is
	// taken back 2 % of the disk, or a tenth of a mark in bytes, below. Default 90%.
	DiskReadOnlyAt DiskMark `yaml:"disk_read_only_at"`
	// DiskReserveBytes is held back in a file and given up when nothing else is left,
	// so that what must be written can be. The log takes no segment that would leave
	// less free. 1 MiB to 16 GiB, default 16 MiB.
	DiskReserveBytes Size `yaml:"disk_reserve_bytes"`
	// GoOnWithout names entries that are lost on every disk, and that no member's state
	// has applied: the operator's word that the group is to go on without them. One
	// member needs it. docs/runbooks/damaged-disk.md says when, and what it costs.
	GoOnWithout EntryRange `yaml:"go_on_without"`
}

// LimitsConfig bounds everything that could grow. Whoever meets a limit is told
// by name (docs/errors.md).
type LimitsConfig struct {
	// Memory is what this process may take: 256 MiB to 4 TiB, default 1 GiB. Caches and
	// queues are sized by it where they are not set, and refused at start where they
	// sum up to more than three quarters of it. The rest is for requests and answers on
	// their way; when it runs short clients are read no further. See docs/limits.md.
	Memory Size `yaml:"memory"`
	// MaxBatchBytes is the largest record batch: 1 KiB to 15 MiB, default 4 MiB.
	// Larger ones are refused with MESSAGE_TOO_LARGE.
	MaxBatchBytes Size `yaml:"max_batch_bytes"`
	// MaxFrameBytes is the largest publish request, which may carry many batches.
	// Default twice MaxBatchBytes, at least 8 MiB.
	MaxFrameBytes Size `yaml:"max_frame_bytes"`
	// MaxQueuesPerTopic bounds a new topic: 1 to 1024, default 1024.
	MaxQueuesPerTopic int `yaml:"max_queues_per_topic"`
	// MaxTopics and MaxQueues bound what the group has when a topic is created at this
	// broker, as the leader; beyond them TOO_MANY_TOPICS and TOO_MANY_QUEUES. What is there
	// already stays. MaxQueues is 1 to 100000, default what a sixty-fourth of Memory has
	// room for at 2 KiB each; MaxTopics 1 to 10000, default as many as queues.
	MaxTopics int `yaml:"max_topics"`
	MaxQueues int `yaml:"max_queues"`
	// MaxGroups bounds the consumer groups when one is made at this broker, as the leader:
	// 1 to 10000, default as many as a 128th of Memory has room for at 512 bytes each.
	// MaxGroupQueues bounds the queues in which they have progress, group by group: 1 to
	// 1048576, default what a 64th of Memory has room for at 96 bytes each. MaxGroupMembers
	// bounds their members, over all groups: 1 to 1000000, default what a 128th of Memory has
	// room for at 1 KiB each. Beyond any of them LIMIT_EXCEEDED.
	MaxGroups       int `yaml:"max_groups"`
	MaxGroupQueues  int `yaml:"max_group_queues"`
	MaxGroupMembers int `yaml:"max_group_members"`
	// MaxProducers bounds the producers when one is registered at this broker, as the leader: 1
	// to 1048576, default as many as a 64th of Memory has room for at 128 bytes each, at most
	// 100000. MaxProducerQueues bounds the queues in which batches of theirs are remembered,
	// producer by producer: 1 to 4194304, default what a 32nd of Memory has room for at 160
	// bytes each. Half of each below a memory of 512 MiB. Beyond them TOO_MANY_PRODUCERS.
	MaxProducers      int `yaml:"max_producers"`
	MaxProducerQueues int `yaml:"max_producer_queues"`
	// MaxDelayed bounds the batches that wait for their delivery time when one is published to
	// this broker, as the leader: 1 to 1000000, default what a 64th of Memory has room for at
	// 128 bytes each; then TOO_MANY_DELAYED. MaxTransactions bounds the open transactions
	// likewise: 1 to 100000, default what a 256th of Memory has room for at 256 bytes each;
	// then TOO_MANY_TRANSACTIONS. Half of each below a memory of 512 MiB.
	MaxDelayed      int `yaml:"max_delayed"`
	MaxTransactions int `yaml:"max_transactions"`
	// MaxPendingProposals and MaxPendingBytes bound what the leader has taken and
	// not yet committed; beyond them LEADER_PENDING_FULL. As much again of unary
	// requests may wait for a leader; beyond that LIMIT_EXCEEDED. Defaults 10000 and a
	// sixteenth of Memory, 8 to 64 MiB, but MaxFrameBytes at least.
	MaxPendingProposals int  `yaml:"max_pending_proposals"`
	MaxPendingBytes     Size `yaml:"max_pending_bytes"`
	// StreamWindowBytes is what one publish stream may have in flight before the
	// broker stops reading from it: default 8 MiB. Clients are told less where many share
	// MaxPendingBytes.
	StreamWindowBytes Size `yaml:"stream_window_bytes"`
	// MaxPullBytes bounds the batches in one pull answer: 1 KiB to 16 MiB, default 4 MiB. One batch
	// always goes through.
	MaxPullBytes Size `yaml:"max_pull_bytes"`
	// MaxPullWait bounds how long a pull may wait for messages: default 30 s.
	MaxPullWait time.Duration `yaml:"max_pull_wait"`
	// MaxHeldPulls bounds the pulls that wait at a time: default what a sixteenth of
	// Memory has room for beside the filters, at most 10000.
	MaxHeldPulls int `yaml:"max_held_pulls"`
	// HoldTimeout is how long a request waits for a leader before NO_LEADER:
	// default 5 s.
	HoldTimeout time.Duration `yaml:"hold_timeout"`
	// AckTimeout is how long a unary request waits for its quorum before
	// WAIT_QUORUM_ACK_TIMEOUT: default 10 s.
	AckTimeout time.Duration `yaml:"ack_timeout"`
	// MaxStreams is the number of requests at a time per connection: default 1000.
	MaxStreams int `yaml:"max_streams"`
	// MaxConnections bounds each listener; further ones wait. Default as above.
	MaxConnections int `yaml:"max_connections"`
	// ReadyMaxLag is how many committed entries may wait to be applied on a member
	// that calls itself ready: default 10000.
	ReadyMaxLag int64 `yaml:"ready_max_lag"`
	// DrainTimeout bounds the end of requests in hand at shutdown: default 3 s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// TLSConfig holds the certificates. A listener without one speaks plain text.
type TLSConfig struct {
	Client ListenerTLS `yaml:"client"`
	Peer   ListenerTLS `yaml:"peer"`
	HTTP   ListenerTLS `yaml:"http"`
	// Reload is how often the files are looked at for changes: default 30 s.
	Reload time.Duration `yaml:"reload"`
}

// ClientAuth says whether a listener asks its callers for certificates.
type ClientAuth string

// The kinds of client authentication.
const (
	ClientAuthNone     ClientAuth = "none"
	ClientAuthOptional ClientAuth = "optional"
	ClientAuthRequired ClientAuth = "required"
)

// ListenerTLS is the identity of one listener, as PEM files that are read again
// when they change.
type ListenerTLS struct {
	// Cert and Key are the certificate chain and its key. Both or none.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// CA holds the authorities whose certificates are believed: callers' and, for
	// peer, other members' too. Required for peer.
	CA string `yaml:"ca"`
	// ClientAuth is none, optional or required. Default: required where CA is set,
	// else none. Peers always require one, with a member id among its DNS names.
	ClientAuth ClientAuth `yaml:"client_auth"`
}

func (t ListenerTLS) enabled() bool { return t.Cert != "" }

// LogConfig shapes the log lines.
type LogConfig struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is auto (text on a terminal, JSON elsewhere), text or json. Default auto.
	Format string `yaml:"format"`
}

// DefaultConfig returns a configuration with every default spelled out.
func DefaultConfig() Config { return Config{}.withDefaults() }

// WithDefaults returns the configuration with a default in place of each zero value.
func (c Config) WithDefaults() Config { return c.withDefaults() }

func (c Config) withDefaults() Config {
	fill(&c.Node.ID, "n1")
	fill(&c.Node.Data, "./data")
	fill(&c.Cluster.ID, "ledgermq")
	fill(&c.Listen.Client, "127.0.0.1:10911")
	fill(&c.Listen.Peer, c.Cluster.Peers[c.Node.ID])
	fill(&c.Listen.Peer, "127.0.0.1:40911")
	fill(&c.Listen.HTTP, "127.0.0.1:8911")
	fill(&c.Durability.Ack, QuorumFsync)
	fill(&c.Log.Level, "info")
	fill(&c.Log.Format, "auto")
	fill(&c.Logger, slog.Default())
	fill(&c.Version, "devel")
	fill(&c.Revision, "unknown")
	c.Raft = c.Raft.withDefaults()
	c.Retention = c.Retention.withDefaults()
	c.Topics = c.Topics.withDefaults()
	fill(&c.ClockSettles, clockSettles)
	c.Transactions = c.Transactions.withDefaults()
	c.Producers = c.Producers.withDefaults()
	c.Limits = c.Limits.withDefaults()
	c.Storage = c.Storage.withDefaults(c.Limits.Memory)
	c.TLS = c.TLS.withDefaults()
	c.Groups = c.Groups.withDefaults()
	return c
}

func (r RaftConfig) withDefaults() RaftConfig {
	fill(&r.Heartbeat, 100*time.Millisecond)
	fill(&r.MaxHeartbeatLeak, 5)
	fill(&r.MinVoteInterval, 30*time.Millisecond)
	fill(&r.MaxVoteInterval, 150*time.Millisecond)
	return r
}

func (s StorageConfig) withDefaults(memory Size) StorageConfig {
	fill(&s.SegmentBytes, 256*mebibyte)
	fill(&s.TailCacheBytes, share(memory, 16, 8*mebibyte, 64*mebibyte))
	fill(&s.StateCacheBytes, stateCache(memory))
	fill(&s.SeedRate, 64*mebibyte)
	fill(&s.ScrubRate, Rate(8*mebibyte))
	fill(&s.DiskWarnAt, "85%")
	fill(&s.DiskReadOnlyAt, "90%")
	fill(&s.DiskReserveBytes, 16*mebibyte)
	return s
}

// stateCache is a sixteenth of the memory, but small where there is little of it: what else
// there is must fit, too.
func stateCache(memory Size) Size {
	if memory < 512*mebibyte {
		return 8 * mebibyte
	}
	return share(memory, 16, 8*mebibyte, 64*mebibyte)
}

func (l LimitsConfig) withDefaults() LimitsConfig {
	fill(&l.Memory, gibibyte)
	fill(&l.MaxBatchBytes, 4*mebibyte)
	fill(&l.MaxFrameBytes, max(2*l.MaxBatchBytes, 8*mebibyte))
	fill(&l.MaxQueuesPerTopic, state.MaxQueuesPerTopic)
	fill(&l.MaxQueues, int(min(l.Memory/64/queueBytes, state.MaxQueues)))
	fill(&l.MaxTopics, min(l.MaxQueues, state.MaxTopics))
	fill(&l.MaxGroups, int(min(l.Memory/128/groupBytes, state.MaxGroups)))
	fill(&l.MaxGroupQueues, int(min(l.Memory/64/groupQueueBytes, state.MaxProgress)))
	fill(&l.MaxGroupMembers, int(min(l.Memory/128/groupMemberBytes, mostGroupMembers)))
	fill(&l.MaxProducers, int(min(part(l.Memory, 64)/producerBytes, 100_000)))
	fill(&l.MaxProducerQueues, int(min(part(l.Memory, 32)/producerQueueBytes, state.MaxWindows)))
	fill(&l.MaxDelayed, int(min(part(l.Memory, 64)/delayedBytes, state.MaxDelayed)))
	fill(&l.MaxTransactions, int(min(part(l.Memory, 256)/transactionBytes, state.MaxTransactions)))
	fill(&l.MaxPendingProposals, 10_000)
	fill(&l.MaxPendingBytes, max(share(l.Memory, 16, 8*mebibyte, 64*mebibyte), l.MaxFrameBytes))
	fill(&l.StreamWindowBytes, 8*mebibyte)
	fill(&l.MaxPullBytes, 4*mebibyte)
	fill(&l.MaxPullWait, 30*time.Second)
	fill(&l.MaxHeldPulls, int(min((l.Memory/16-filterBytes(l.Memory))/heldPullBytes, 10_000)))
	fill(&l.HoldTimeout, 5*time.Second)
	fill(&l.AckTimeout, 10*time.Second)
	fill(&l.MaxStreams, 1000)
	fill(&l.MaxConnections, int(min(l.Memory/16/connectionBytes, 10_000)))
	fill(&l.ReadyMaxLag, 10_000)
	fill(&l.DrainTimeout, 3*time.Second)
	return l
}

func (t TLSConfig) withDefaults() TLSConfig {
	fill(&t.Reload, 30*time.Second)
	for _, l := range []*ListenerTLS{&t.Client, &t.Peer, &t.HTTP} {
		if l.CA != "" {
			fill(&l.ClientAuth, ClientAuthRequired)
		}
		fill(&l.ClientAuth, ClientAuthNone)
	}
	return t
}

// fill sets *p to def if it still has its zero value.
func fill[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// members returns the group as it begins: the configured peers, or this broker alone.
func (c Config) members() map[string]string {
	if len(c.Cluster.Peers) > 0 {
		return c.Cluster.Peers
	}
	return map[string]string{c.Node.ID: c.Listen.Peer}
}

// advertised returns the address to tell clients, given the one listened on.
func (c Config) advertised(listening net.Addr) string {
	if c.Advertise.Client != "" {
		return c.Advertise.Client
	}
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return listening.String()
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return net.JoinHostPort(host, port)
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return net.JoinHostPort(name, port)
}
