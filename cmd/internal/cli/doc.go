// Package cli is what the three commands share: exit codes, the way an error is
// told, the flags that say where the cluster is and how to trust it, and the
// switch between a table and JSON.
//
// It holds no logic of any command.
package cli
