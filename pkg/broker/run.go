package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Run runs the broker until ctx is done and then stops it in good order: the
// leadership is handed over, what is in hand is finished, state and ledger are
// flushed. It returns nil then, ErrKilled after Kill, and any other error when
// the disk failed or an invariant broke: the process must end.
func (b *Broker) Run(ctx context.Context) error {
	if !b.stop.run.CompareAndSwap(false, true) {
		return errors.New("broker: Run was called twice")
	}
	defer close(b.stop.done)
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, gctx := errgroup.WithContext(running)
	g.Go(func() error { return b.ledger.Run(gctx) })
	g.Go(func() error { return b.roles.Run(gctx) })
	g.Go(func() error { return b.dispatcher.run(gctx) })
	g.Go(func() error { return b.dispatcher.flush(gctx) })
	g.Go(func() error { return b.retention.run(gctx) })
	g.Go(func() error { return b.topics.run(gctx) })
	g.Go(func() error { return b.groups.coordinator.run(gctx, b.leaderships.serving) })
	g.Go(func() error { return b.groups.gatherer.run(gctx) })
	g.Go(func() error { return b.work.queues.run(gctx, b.leaderships) })
	g.Go(func() error { return b.work.queues.gatherer.run(gctx) })
	g.Go(func() error { return b.delivery.run(gctx) })
	g.Go(func() error { return b.transactions.run(gctx) })
	g.Go(func() error { return b.expiry.run(gctx) })
	g.Go(func() error { return b.expireSeeds(gctx) })
	g.Go(func() error { return b.fetchSeeds(gctx) })
	g.Go(func() error { return b.disk.run(gctx) })
	g.Go(func() error { return b.maintainFitness(gctx) })
	g.Go(func() error { return b.memory.run(gctx) })
	g.Go(func() error { return b.maintainHealth(gctx) })
	g.Go(func() error { return b.reloadCertificates(gctx) })
	g.Go(func() error { return serveGRPC(b.servers.client, b.sockets.client) })
	g.Go(func() error { return serveGRPC(b.servers.peer, b.sockets.peer) })
	g.Go(b.serveHTTP)
	g.Go(func() error { return b.refuseTwin(gctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			b.drain(gctx)
		case <-b.stop.killed.Done():
		case <-gctx.Done():
		}
		if b.stop.killed.Err() != nil {
			b.cutSockets()
			b.ledger.Abandon()
		}
		b.stopServers()
		cancel()
		return nil
	})
	b.setPhase(phaseRunning)
	b.log.Info("broker running", "cluster", b.cfg.Cluster.ID, "incarnation", b.dir.Incarnation, "version", b.cfg.Version,
		"client", b.Addrs().Client, "peer", b.Addrs().Peer, "http", b.Addrs().HTTP, "durability", string(b.cfg.Durability.Ack))
	err := b.close(g.Wait())
	b.log.Info("broker stopped", "error", err)
	return err
}

func (b *Broker) reloadCertificates(ctx context.Context) error {
	var all []*certificates
	for _, c := range []*certificates{b.certs.client, b.certs.peer, b.certs.http} {
		if c != nil {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return reloadCertificates(ctx, b.cfg.TLS.Reload, all)
}

func (b *Broker) serveHTTP() error {
	if err := b.servers.http.Serve(b.httpListener()); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", b.sockets.http.Addr(), err)
	}
	return nil
}

// drain stops in good order while everything still runs.
func (b *Broker) drain(ctx context.Context) {
	b.setPhase(phaseStopping)
	b.log.Info("broker stopping")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.stop.killed, cancel)()
	b.handOver(ctx)
	b.stop.begin()
	finish, giveUp := context.WithTimeout(ctx, b.cfg.Limits.DrainTimeout)
	defer giveUp()
	// What is not finished in time, or cannot be because the broker was killed or
	// failed meanwhile, is cut off.
	defer context.AfterFunc(finish, b.servers.client.Stop)()
	b.servers.client.GracefulStop()
}

// handOver gives the leadership away, so that the others need not wait for an
// election timeout. If nobody can take it, they will have to.
func (b *Broker) handOver(ctx context.Context) {
	if b.ledger.Status().Members.CountVoters() == 1 || !b.view().master {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTransfer)
	defer cancel()
	if err := b.ledger.Transfer(ctx, member.ID("")); err != nil {
		b.log.Warn("leadership not handed over before stopping", "error", err)
		return
	}
	view := b.view()
	b.log.Info("leadership handed over", "leader", string(view.leader), "term", int64(view.term))
}

// stopServers ends listeners and handlers, and waits for the handlers.
func (b *Broker) stopServers() {
	b.setPhase(phaseStopping)
	b.stop.begin()
	b.servers.client.Stop()
	b.servers.peer.Stop()
	_ = b.servers.http.Close() // the connections of probes and scrapes end with it
}
