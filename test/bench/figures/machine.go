package figures

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileSystems are the names of some by what statfs tells; others show their number only.
var fileSystems = map[int64]string{0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x01021994: "tmpfs", 0x794c7630: "overlayfs"}

// DescribeMachine says where a process runs, and on what file system a directory is.
func DescribeMachine(dir string) (Machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Machine{}, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return Machine{}, fmt.Errorf("file system of %s: %w", dir, err)
	}
	memory, err := strconv.ParseInt(procField("/proc/meminfo", "MemTotal:"), 10, 64)
	if err != nil {
		return Machine{}, fmt.Errorf("memory of the machine: %w", err)
	}
	return Machine{
		CPU: procField("/proc/cpuinfo", "model name\t:"), Cores: runtime.NumCPU(), MemoryMiB: memory >> 10,
		Kernel:     "Linux " + unix.ByteSliceToString(name.Release[:]),
		FileSystem: strings.TrimSpace(fmt.Sprintf("%s (%#x)", fileSystems[int64(fs.Type)], fs.Type)),
		Go:         runtime.Version(),
	}, nil
}

// procField is what stands behind a key in a file of /proc, without its unit.
func procField(path, key string) string {
	text, err := os.ReadFile(path)
	_, after, found := strings.Cut(string(text), key)
	if err != nil || !found {
		return "unknown"
	}
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSuffix(strings.TrimSpace(line), " kB")
}
