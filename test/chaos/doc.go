// Package chaos breaks real broker processes, their disks and their network, and
// holds what clients saw against what they were promised (README.md).
//
// Everything that needs root happens in namespaces of its own (mounts, network,
// processes) that a first process makes and a second one fills: when they end, by
// whatever cause, the kernel takes brokers, bridges, rules and mounts with them.
//
// The nemesis and everything that touches a host run in the test's goroutine;
// producers and consumers each in one of their own under an errgroup.
package chaos
