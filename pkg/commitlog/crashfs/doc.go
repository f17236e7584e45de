// Package crashfs is a file system in memory for tests of code that must
// survive power cuts. It keeps apart what was written and what was synced:
// Crash returns the disk as a power cut would leave it, with any part of the
// unsynced sectors and directory entries. It also fails calls on demand and
// records them. Production code never imports it.
package crashfs
