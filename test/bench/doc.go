// Package bench measures three real brokers and pkg/client on one machine, and in
// the same minutes what the machine itself can do: its disk, a gRPC stream, and a
// bare path of stream, log and replication without anything else (bare_test.go).
// Every figure is so a fraction of a limit. docs/performance.md says what the
// workloads and figures are.
//
//	make bench                        # all of it: build/bench.json, a table, the page
//	make bench BENCH_ONLY=limits,publish BENCH_REPS=3
//	make bench-curves                 # how figures grow, with plots
//	go test ./test/bench              # a few seconds: does it still run?
//
// A workload is a function of a session, which has a cluster of its own; what it
// measures goes through session.measure into the report (package figures). CPU is
// that of the processes (/proc and getrusage), latency counts from when a message was
// due, so that a stall is charged to all that it delays. Other brokers are measured in
// a module of its own, test/bench/peers.
package bench
