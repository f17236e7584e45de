package broker

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/credentials"
	healthgrpc "google.golang.org/grpc/health"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/rolechange"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// group names the one ledger of a cluster; more may come.
const group = "default"

// openLedger opens ledger and state and makes sure that they belong together.
func (b *Broker) openLedger() error {
	b.roles = rolechange.New(rolechange.Config{Logger: b.log, Registerer: b.metrics.registry})
	if err := os.MkdirAll(b.dir.ledger(), 0o750); err != nil {
		return fmt.Errorf("ledger directory: %w", err)
	}
	var err error
	if b.ledger, err = dledger.Open(b.ledgerConfig()); err != nil {
		return fmt.Errorf("open ledger in %s: %w", b.dir.ledger(), err)
	}
	if err := b.dir.settle(); err != nil {
		return err
	}
	if err := os.RemoveAll(b.dir.oldState()); err != nil {
		return fmt.Errorf("remove what is left of an earlier state: %w", err)
	}
	if err := b.openSoundState(); err != nil {
		return err
	}
	st := b.ledger.Status()
	anew, err := replayable(commitlog.Index(b.store.Applied()), st.Begin, st.End, b.dir.path, b.alone())
	if err != nil || !anew {
		return err
	}
	b.log.Warn("state is ahead of the ledger, as after a power cut: it is built anew from the ledger",
		"applied", int64(b.store.Applied()), "ledger_end", int64(st.End))
	b.store.Abandon()
	if err := b.dir.dropState(os.RemoveAll); err != nil {
		return fmt.Errorf("remove the state that is ahead of the ledger: %w", err)
	}
	return b.openState()
}

// openState opens the state. Its metrics have a registry of their own until it is
// known that the state is used.
func (b *Broker) openState() error {
	registry := prometheus.NewRegistry()
	store, err := state.Open(state.Config{
		Dir: b.dir.state(), CacheBytes: int64(b.cfg.Storage.StateCacheBytes), MemTableBytes: uint64(b.cfg.memTableBytes()), Logger: b.log, Registerer: registry,
		Fatal: b.cfg.Fatal,
	})
	if err != nil {
		return fmt.Errorf("open state in %s: %w", b.dir.state(), err)
	}
	// This reads of every queue, so it is where damage is likely to show.
	if err := store.Retain(state.Index(b.ledger.Begin())); err != nil {
		store.Abandon()
		return fmt.Errorf("find the first offsets of the queues: %w", err)
	}
	b.store, b.metrics.state = store, registry
	return nil
}

func (b *Broker) ledgerConfig() dledger.Config {
	peers := make(map[member.ID]string)
	for id, addr := range b.cfg.members() {
		peers[member.ID(id)] = addr
	}
	moved := make(map[member.ID]string)
	for id, addr := range b.cfg.Cluster.Addresses {
		moved[member.ID(id)] = addr
	}
	r := b.cfg.Raft
	return dledger.Config{
		Dir: b.dir.ledger(), Fresh: b.dir.fresh,
		ClusterID: b.cfg.Cluster.ID, Group: group, ID: member.ID(b.cfg.Node.ID), Incarnation: b.dir.Incarnation,
		Peers: peers, Addresses: moved, Joining: b.cfg.Cluster.Join, ClientAddr: b.cfg.advertised(b.sockets.client.Addr()),
		Member: member.Config{
			HeartBeatInterval: r.Heartbeat, MaxHeartBeatLeak: r.MaxHeartbeatLeak,
			MinVoteInterval: r.MinVoteInterval, MaxVoteInterval: r.MaxVoteInterval,
			PreferredLeader: member.ID(r.PreferredLeader), Bootstrap: b.cfg.Cluster.Bootstrap,
		},
		Log: commitlog.Config{
			SegmentBytes: int64(b.cfg.Storage.SegmentBytes), TailCacheBytes: int64(b.cfg.Storage.TailCacheBytes),
			PageCache: b.cfg.Durability.Ack == PageCache, FS: b.cfg.LedgerFS, MayGrow: b.disk.mayGrow,
		},
		OnSpace:             b.disk.onSpace,
		MaxPendingProposals: b.cfg.Limits.MaxPendingProposals + reservedProposals,
		MaxPendingBytes:     int64(b.cfg.Limits.MaxPendingBytes + reservedBytes),
		ScrubRate:           int64(max(0, b.cfg.Storage.ScrubRate)),
		InboundBytes:        func(peers int) int64 { b.memory.fit(peers); return int64(b.cfg.inboundBytes(peers)) },
		PeerCredentials:     b.peerCredentials(),
		OnNeedsSeed:         b.needsSeed,
		OnRole:              func(rc member.RoleChange) { b.roles.Notify(rolechange.Of(rc)) },
		Logger:              b.cfg.Logger, Registerer: b.metrics.registry, // it names the member itself
	}
}

// peerCredentials secure the connections to other members; nil means plain text.
func (b *Broker) peerCredentials() credentials.TransportCredentials {
	if b.certs.peer == nil {
		return nil
	}
	return &peerCredentials{certs: b.certs.peer}
}

// build puts the services together.
func (b *Broker) build() error {
	applied, err := appliedTerm(b.ledger, commitlog.Index(b.store.Applied()))
	if err != nil {
		return err
	}
	b.ledger.StampNotBefore(b.store.NewestStamp())
	b.leaderships = newLeaderships(applied)
	b.roles.AddHandler(b.leaderships)
	b.hold = newPullHold(b.cfg.Limits.MaxHeldPulls)
	b.delivery = newDelivery(b)
	b.transactions = newTransactions(b)
	b.expiry = newProducerExpiry(b)
	b.dispatcher = &dispatcher{
		delivery: b.delivery,
		ledger:   b.ledger, store: b.store, hold: b.hold, leaderships: b.leaderships, flushDue: make(chan struct{}, 1),
		replay:   replayLog{log: b.log},
		mayFlush: b.disk.mayFlush, need: b.need, alone: b.alone(),
		without: b.cfg.Storage.GoOnWithout, log: b.log,
	}
	b.dispatcher.applied.Store(int64(b.store.Applied()))
	b.errors = &translator{view: b.view, log: b.log}
	b.router = &router{
		view: b.view, conn: b.ledger.PeerConn, explain: b.explain, held: b.metrics.heldRequests,
		room: newBudget(b.cfg.Limits), hold: b.cfg.Limits.HoldTimeout, stopping: b.stop.ctx.Done(),
	}
	if err := b.dropUselessSeed(); err != nil {
		return err
	}
	if b.seeds, err = b.newSeedSource(); err != nil {
		return err
	}
	b.retention = b.newRetention()
	b.topics = newTopicKeeper(b)
	b.streams = new(errgroup.Group)
	b.grpcHealth = healthgrpc.NewServer()
	b.buildServices()
	return nil
}

func (b *Broker) buildServices() {
	l := b.cfg.Limits
	proposer := &proposer{ledger: b.ledger, timeout: l.AckTimeout, now: time.Now}
	b.messaging = &messagingService{
		router:    b.router,
		publisher: &publisher{limit: int(l.MaxBatchBytes), frame: int(l.MaxFrameBytes), store: b.store, errors: b.errors, metrics: b.metrics, now: time.Now, producers: b.expiry.room, delayed: l.MaxDelayed, transactions: l.MaxTransactions},
		puller: &puller{
			store: b.store, ledger: b.ledger, hold: b.hold,
			gate: b.memory, filters: newFiltering(filterBytes(l.Memory), b.metrics), maxBytes: int(l.MaxPullBytes), maxWait: l.MaxPullWait, metrics: b.metrics,
		},
		proposer: proposer, budget: newBudget(l), share: newPublishShare(l), ledger: b.ledger,
		disk:    b.disk,
		watcher: &leaderWatch{broker: b}, streams: b.streams, streamWindow: int(l.StreamWindowBytes), streamAnswer: int64(b.cfg.streamAnswerBytes()),
	}
	b.admin = &adminService{
		router: b.router, proposer: proposer, store: b.store, ledger: b.ledger, disk: b.disk, maxQueues: l.MaxQueuesPerTopic,
		maxBatch: int64(l.MaxBatchBytes), grace: b.cfg.Topics.DeleteGrace,
		room: newTopicRoom(b.store, l),
		self: selfInfo{clientAddr: b.clientAddr(), incarnation: b.dir.Incarnation, trouble: b.trouble},
	}
	b.deliveries = &deliveryService{router: b.router, proposer: proposer}
	b.ends = &transactionService{
		router: b.router, proposer: proposer, store: b.store, ledger: b.ledger, disk: b.disk, transactions: b.transactions,
	}
	b.query = &queryService{router: b.router, puller: b.messaging.puller, proposer: proposer, disk: b.disk}
	b.status = &statusService{broker: b}
	b.buildGroups(proposer)
	b.query.coordinator, b.query.work = b.groups.coordinator, b.work.queues
}

// buildGroups puts together what serves consumer groups.
func (b *Broker) buildGroups(proposer *proposer) {
	l := b.cfg.Limits
	finder := &offsetFinder{puller: b.messaging.puller}
	room := &groupRoom{store: b.store, groups: l.MaxGroups, queues: l.MaxGroupQueues}
	b.groups = &groupService{
		router: b.router, proposer: proposer, store: b.store, disk: b.disk, finder: finder, room: room,
		coordinator: newGroupCoordinator(b.store, &granter{proposer: proposer, finder: finder, room: room}, b.cfg.Groups, l.MaxGroupMembers, b.log),
		gatherer:    newProgressGatherer(b),
	}
	b.work = &workService{router: b.router, store: b.store, queues: newWorkQueues(b, proposer, finder, room)}
	b.groups.work, b.dispatcher.work = b.work.queues, b.work.queues
}

func (b *Broker) httpListener() net.Listener {
	if b.certs.http == nil {
		return b.sockets.http
	}
	return tls.NewListener(b.sockets.http, b.certs.http.serverConfig(tls.VersionTLS12, http1))
}
