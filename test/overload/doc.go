// Package overload runs three broker processes with little memory under everything
// that could make them take more, at once: producers that are faster than the disks,
// consumers that never read, thousands of parked pulls and idle connections, and a
// follower that stands still for a while. It reads each process's peak resident
// memory from the kernel and compares it with limits.memory.
//
//	make overload
//	go test -v ./test/overload -overload.for 60s -overload.memory 2GiB
package overload
