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
	// direct lets direct writes pass the page cache by. They land in the image at once, so
	// a power cut takes only what ext4 had to say about them: sizes, names, which blocks
	// are written. Without it they are written as others are, and what nobody has synced
	// is really lost.
	direct bool
}

func newDisk(dir string, direct bool) (*disk, error) {
	d := &disk{image: dir + ".img", mount: dir, direct: direct}
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

// restorePower mounts the disk; ext4 replays its journal. With data=journal it has no
// direct writes.
func (d *disk) restorePower() error {
	data := "data=journal"
	if d.direct {
		data = "data=ordered"
	}
	return command("mount", "-o", "loop,noatime,"+data, d.image, d.mount)
}

// hasDirectWrites tells whether a file of the disk is really written past the page cache.
func (d *disk) hasDirectWrites() (bool, error) {
	path := filepath.Join(d.mount, "direct")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		return false, err
	}
	defer os.Remove(path)
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_DIOALIGN, &st); err != nil {
		return false, fmt.Errorf("statx %s: %w", path, err)
	}
	return st.Mask&unix.STATX_DIOALIGN != 0 && st.Dio_offset_align > 0, nil
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
	for range 3000 { // the last process is dead, but its files may still be closing
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

// remove forgets the disk.
func (d *disk) remove() {
	_ = os.Remove(d.image)
	_ = os.Remove(d.mount) // fails if it is still mounted, which was reported
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
