// Package broker is one broker: its services, its listeners, its data directory
// and their life cycle.
//
// It guarantees:
//
//   - A publish is answered as stored when its batches are applied, and so
//     committed: durable on a majority. Every other answer has a code that says
//     whether the batches certainly were not stored or might have been
//     (docs/errors.md).
//   - Consumers read what is committed and applied, never more.
//   - Every broker answers every client: unary requests are passed on to the
//     leader over the peer connection, streams are told its address, and while
//     nobody leads both wait for a bounded time.
//   - Whatever could grow has a limit (LimitsConfig) with a named answer.
//
// The way of a publish request:
//
//	gRPC ─► publishStream.read ─► publisher.parse     header, CRC, size, queue
//	                              dledger.Propose     replicate, commit
//	        dispatcher.step    ─► state.Apply         offsets, topics, producers
//	                              dledger.Applied  ─► Proposal.Done
//	        publishStream.write ◄─ answers in the order of the frames
//	                              pullHold.wake    ─► waiting pulls look again
//
// Goroutines, all under Run's errgroup and gone when it returns:
//
//	ledger      dledger.Server.Run and its own (see there)
//	roles       rolechange.Changer.Run, calls leaderships
//	dispatcher  owns the way from ledger to state
//	flusher     brings the state to disk now and then
//	groups      looks after the members of consumer groups, grants queues, while leading
//	progress    gathers commits of progress and carries them through the ledger
//	work        while this broker leads: ends leases of work-queue groups, moves dead letters
//	settlements gathers acknowledgements of messages and carries them through the ledger
//	seeds       drops the seeds that nobody reads any more
//	seeder      fetches a seed when the leader says that this member needs one
//	delivery    while this broker leads: proposes what is due, carries what waits
//	transactions  while this broker leads: has producers asked how theirs end
//	expiry      while this broker leads: has producers forgotten that are not used
//	retention   deletes old segments of the ledger
//	topics      while this broker leads: trims topics, removes deleted ones
//	disk        looks how full the disk is, keeps the reserve
//	memory      looks how much memory is in use, holds clients back
//	fitness     tells the member when its disk hangs or is full
//	health      keeps grpc.health.v1 true
//	reloader    looks at certificate files
//	servers     client gRPC, peer gRPC, HTTP, one goroutine each, and theirs
//	twin        looks once for another broker with this one's id
//	stopper     waits for the end, drains, stops the servers
//	readers     one per publish or pull stream (Broker.streams): the stream's Recv
//	            ends only when its handler has returned, so it cannot be the
//	            handler's to wait for
//
// Lifetime: New opens everything and may fail; Run returns nil after its context
// is done, ErrKilled after Kill, or the fault for which the process must end.
package broker
