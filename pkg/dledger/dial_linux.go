package dledger

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func setUserTimeout(_, _ string, conn syscall.RawConn) error {
	var err error
	if ctlErr := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUserTimeout.Milliseconds()))
	}); ctlErr != nil {
		return ctlErr
	}
	return err
}
