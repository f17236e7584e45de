//go:build !linux

package commitlog

import "syscall"

// sectorErrors are what a failed read of a sector gives.
var sectorErrors = []error{syscall.EIO}
