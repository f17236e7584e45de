//go:build !linux

package dledger

import "syscall"

func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
