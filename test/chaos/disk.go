package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// diskBytes is the size of a host's disk; it is sparse.
const diskBytes = 1 << 30

// The ioctls that golang.org/x/sys does not name.
const (
	ext4Shutdown           = 0x8004587d // EXT4_IOC_SHUTDOWN
	ext4ShutdownNoLogFlush = 2          // as a power cut: not even the journal is written
	fiFreeze               = 0xc0045877
	fiThaw                 = 0xc0045878
)

// disk is an ext4 file system of its own on a loop device.
type disk struct {
	image, mount string
}

func newDisk(dir string) (*disk, error) {
	d := &disk{image: dir + ".img", mount: dir}
	file, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return d, firstError(
		func() error { return file.Truncate(diskBytes) },
		func() error { return command("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", d.image) },
		func() error { return os.Mkdir(d.mount, 0o700) },
		d.restorePower,
	)
}

// restorePower mounts the disk; ext4 replays its journal.
func (d *disk) restorePower() error {
	return command("mount", "-o", "loop,noatime", d.image, d.mount)
}

// die lets every access fail from now on, with nothing more written.
func (d *disk) die() error {
	return d.ioctl(func(fd int) error { return unix.IoctlSetPointerInt(fd, ext4Shutdown, ext4ShutdownNoLogFlush) })
}

// cutPower lets the disk die and detaches it: what was not synced is gone. Nobody may
// have a file open there any more, or is about to close it.
func (d *disk) cutPower() error { return firstError(d.die, d.unmount) }

func (d *disk) unmount() error {
	var err error
	for range 200 { // the last process is dead, but its files may still be closing
		if err = unix.Unmount(d.mount, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		pause(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("umount %s: %w", d.mount, err)
	}
	return nil
}

// freeze lets every write and sync wait until thaw.
func (d *disk) freeze() error {
	return d.ioctl(func(fd int) error { return unix.IoctlSetInt(fd, fiFreeze, 0) })
}

func (d *disk) thaw() error {
	return d.ioctl(func(fd int) error { return unix.IoctlSetInt(fd, fiThaw, 0) })
}

// fill takes all the space that is left; drop gives it back.
func (d *disk) fill() error {
	file, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer file.Close()
	var at int64
	for step := int64(diskBytes); step >= 4096; {
		switch err := unix.Fallocate(int(file.Fd()), 0, at, step); {
		case err == nil:
			at += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		default:
			return fmt.Errorf("fill %s: %w", d.mount, err)
		}
	}
	return nil
}

func (d *disk) drop() error { return os.Remove(d.ballast()) }

func (d *disk) ballast() string { return filepath.Join(d.mount, "ballast") }

func (d *disk) ioctl(do func(fd int) error) error {
	dir, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(int(dir.Fd()))
}
