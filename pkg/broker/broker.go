package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/rolechange"
	"github.com/ledgermq/ledgermq/pkg/seed"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// Broker is one broker. New builds it, Run runs it, Kill ends it without notice.
type Broker struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	dir     *dataDir
	certs   struct{ client, peer, http *certificates } // nil: plain text
	sockets struct{ client, peer, http *sockets }
	servers struct {
		client, peer *grpc.Server
		http         *http.Server
	}

	store        *state.Store
	ledger       *dledger.Server
	roles        *rolechange.Changer
	leaderships  *leaderships
	dispatcher   *dispatcher
	delivery     *delivery
	transactions *transactions
	expiry       *producerExpiry
	retention    *retention
	topics       *topicKeeper
	seeds        *seed.Source
	seedWanted   chan member.ID // capacity 1: the leader says that this member must be seeded
	need         *stateNeed
	seedProgress atomic.Pointer[seedProgress]
	seedPieces   struct { // for tests, which set it before Run
		bytes int    // 0: the default
		asked func() // nil: nothing; called before each piece is asked for
	}
	disk       *diskGuard
	memory     *memoryGate
	hold       *pullHold
	router     *router
	errors     *translator
	grpcHealth *healthgrpc.Server
	messaging  *messagingService
	admin      *adminService
	query      *queryService
	status     *statusService
	groups     *groupService
	work       *workService
	deliveries *deliveryService
	ends       *transactionService
	streams    *errgroup.Group

	current atomic.Int32 // phase
	stop    struct {
		ctx    context.Context // done when the broker stops taking work
		begin  context.CancelFunc
		killed context.Context // done when Kill was called
		kill   context.CancelFunc
		done   chan struct{} // closed when Run has returned
		run    atomic.Bool
	}
}

// phase is where a broker is in its life.
type phase int32

const (
	phaseStarting phase = iota + 1
	phaseRunning
	phaseStopping
	phaseStopped
)

// String names the phase as probes show it.
func (p phase) String() string {
	switch p {
	case phaseStarting:
		return "starting"
	case phaseRunning:
		return "running"
	case phaseStopping:
		return "stopping"
	case phaseStopped:
		return "stopped"
	}
	return fmt.Sprintf("phase(%d)", int32(p))
}

func (b *Broker) phase() phase     { return phase(b.current.Load()) }
func (b *Broker) setPhase(p phase) { b.current.Store(int32(p)) }

// Addrs are the addresses that a broker listens on, with real ports.
type Addrs struct {
	Client, Peer, HTTP string
}

// New opens data directory, ledger, state and listeners. Nothing moves before
// Run. Errors about the configuration are ErrConfig, those about the data directory
// ErrDataDir; an address in use is a syscall.EADDRINUSE.
func New(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	b := &Broker{cfg: cfg, log: cfg.Logger.With("member", cfg.Node.ID)}
	b.seedWanted = make(chan member.ID, 1)
	b.need = newStateNeed(b.log)
	b.seedProgress.Store(&seedProgress{})
	b.setPhase(phaseStarting)
	b.stop.ctx, b.stop.begin = context.WithCancel(context.Background())
	b.stop.killed, b.stop.kill = context.WithCancel(context.Background())
	b.stop.done = make(chan struct{})
	if err := b.open(); err != nil {
		b.abandon()
		return nil, err
	}
	return b, nil
}

// open is New without the tidying up after a failure.
func (b *Broker) open() error {
	if err := b.cfg.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var err error
	if b.dir, err = lockDataDir(b.cfg.Node.Data, b.cfg.Cluster.ID, b.cfg.Node.ID); err != nil {
		return err
	}
	b.memory = newMemoryGate(b.cfg, b.log)
	b.disk = newDiskGuard(b.cfg, b.dir.path, b.log)
	b.metrics = newMetrics(b.cfg, b.disk)
	// What the operator can mend comes before the directory is this member's: a start
	// that fails here may be tried again under another name.
	if err := b.loadCertificates(); err != nil {
		return err
	}
	if err := b.listen(); err != nil {
		return err
	}
	if err := b.dir.claim(); err != nil {
		return err
	}
	b.disk.check()
	installed, err := b.dir.finishSwitch()
	if err != nil {
		return err
	}
	if installed {
		b.metrics.seed.seeds.WithLabelValues("installed").Inc()
		b.log.Info("seed installed")
	}
	if err := b.openLedger(); err != nil {
		return err
	}
	if err := b.build(); err != nil {
		return err
	}
	b.metrics.watch(b)
	b.servers.client, b.servers.peer = b.newClientServer(), b.newPeerServer()
	b.servers.http = newHTTPServer(b, b.sockets.http.Addr())
	return nil
}

func (b *Broker) loadCertificates() error {
	for _, l := range []struct {
		usage string
		cfg   ListenerTLS
		into  **certificates
	}{
		{"client", b.cfg.TLS.Client, &b.certs.client},
		{"peer", b.cfg.TLS.Peer, &b.certs.peer},
		{"http", b.cfg.TLS.HTTP, &b.certs.http},
	} {
		if !l.cfg.enabled() {
			continue
		}
		certs, err := loadCertificates(l.usage, l.cfg, b.log, b.metrics.certificate)
		if err != nil {
			return err
		}
		*l.into = certs
	}
	return nil
}

// listen opens the sockets that were not given.
func (b *Broker) listen() error {
	for _, l := range []struct {
		name, addr string
		given      net.Listener
		into       **sockets
	}{
		{"client", b.cfg.Listen.Client, b.cfg.Listeners.Client, &b.sockets.client},
		{"peer", b.cfg.Listen.Peer, b.cfg.Listeners.Peer, &b.sockets.peer},
		{"http", b.cfg.Listen.HTTP, b.cfg.Listeners.HTTP, &b.sockets.http},
	} {
		if l.given == nil {
			var err error
			if l.given, err = net.Listen("tcp", l.addr); err != nil {
				return fmt.Errorf("listen.%s: %w", l.name, err)
			}
		}
		*l.into = newSockets(l.given, b.cfg.Limits.MaxConnections)
	}
	b.sockets.client.gate = b.memory
	return nil
}

// Addrs returns the addresses that the broker listens on.
func (b *Broker) Addrs() Addrs {
	return Addrs{
		Client: b.sockets.client.Addr().String(),
		Peer:   b.sockets.peer.Addr().String(),
		HTTP:   b.sockets.http.Addr().String(),
	}
}

// ID returns the broker's member id.
func (b *Broker) ID() string { return b.cfg.Node.ID }

// alone says whether this member's group has no other.
func (b *Broker) alone() bool { return len(b.others()) == 0 }

// others are the ids of the other members of the group as this broker knows it.
func (b *Broker) others() []string {
	var ids []string
	for _, seat := range b.ledger.Status().Members {
		if string(seat.ID) != b.cfg.Node.ID {
			ids = append(ids, string(seat.ID))
		}
	}
	return ids
}

// memberIDs are the ids of the group as this broker knows it, and its own.
func (b *Broker) memberIDs() []string { return append(b.others(), b.cfg.Node.ID) }

// applyLag is how many committed entries are not applied yet.
func (b *Broker) applyLag() int64 {
	return max(0, int64(b.ledger.Status().Commit)-b.dispatcher.applied.Load())
}

// abandon lets go of everything as a killed process would.
func (b *Broker) abandon() {
	b.cutSockets()
	if b.ledger != nil {
		b.ledger.Abandon()
	}
	b.abandonRest()
}

func (b *Broker) abandonRest() {
	if b.store != nil {
		b.store.Abandon()
	}
	if b.dir != nil {
		_ = b.dir.close() // closing the file is giving the lock back
	}
	b.stop.begin()
	b.stop.kill()
}

// cutSockets closes connections and then listeners, as a process that dies. All
// connections come first: a listener that closes ends the broker's Run, and what the
// ledger says of pending proposals then must not reach anyone.
func (b *Broker) cutSockets() {
	all := []*sockets{b.sockets.client, b.sockets.peer, b.sockets.http}
	for _, s := range all {
		if s != nil {
			s.cut()
		}
	}
	given := []net.Listener{b.cfg.Listeners.Client, b.cfg.Listeners.Peer, b.cfg.Listeners.HTTP}
	for i, s := range all {
		switch {
		case s != nil:
			_ = s.Close()
		case given[i] != nil:
			_ = given[i].Close()
		}
	}
}

// close ends what is still open after Run's goroutines have: in good order, or,
// after a fault, without another write.
func (b *Broker) close(fault error) error {
	_ = b.streams.Wait() // the readers of streams return no errors
	b.setPhase(phaseStopped)
	var seeded *seedReady
	switch {
	case b.stop.killed.Err() != nil:
		b.abandon() // all of it: the kill may have come after the servers were stopped
		return ErrKilled
	case errors.As(fault, &seeded):
		b.stop.kill() // nothing left to kill
		return b.closeSeeded(seeded)
	case fault != nil:
		b.noteFault(fault)
		b.abandon()
		return fault
	}
	b.stop.kill() // nothing left to kill
	// The ledger first: the state must not be on disk ahead of it.
	err := b.ledger.Close()
	if err != nil {
		b.store.Abandon()
		return errors.Join(err, b.dir.close())
	}
	return errors.Join(b.store.Close(), b.dir.close())
}

// ErrKilled is what Run returns after Kill.
var ErrKilled = errors.New("broker was killed")

// Kill ends the broker as kill -9 would: connections are cut, nothing is flushed
// or said to anyone. It returns when the data directory is free for another
// broker.
func (b *Broker) Kill() {
	b.stop.kill()
	if b.stop.run.Load() {
		<-b.stop.done
		return
	}
	b.abandon()
}

// drainTransfer bounds the handing over of the leadership at shutdown.
const drainTransfer = 2 * time.Second
