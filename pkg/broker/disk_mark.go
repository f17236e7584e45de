package broker

import (
	"fmt"
	"strconv"
	"strings"
)

// FileSystem is how full the file system of the data directory is, as df counts
// it: what is kept for root is neither free nor part of the total.
type FileSystem struct {
	Total, Free int64 // bytes
}

// usedPercent is the share in use, 0 to 100.
func (fs FileSystem) usedPercent() float64 {
	if fs.Total <= 0 {
		return 0
	}
	return 100 * float64(fs.Total-fs.Free) / float64(fs.Total)
}

// String says it for a person.
func (fs FileSystem) String() string {
	return fmt.Sprintf("%.1f %% used, %s of %s free", fs.usedPercent(), roundSize(fs.Free), roundSize(fs.Total))
}

// roundSize writes bytes in a unit that leaves few digits.
func roundSize(n int64) string {
	for _, u := range []struct {
		name  string
		bytes Size
	}{{"GiB", gibibyte}, {"MiB", mebibyte}, {"KiB", kibibyte}} {
		if n >= int64(u.bytes) {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// DiskMark is a water mark of the disk: "90%" of it in use, or, as a size ("2GiB"),
// so many bytes left. The latter suits small disks, of which a percentage is not
// even one segment. Of large disks a percentage is more than anybody needs: what is
// left at a share is counted as if a disk had 320 GiB at most.
type DiskMark string

// largestDisk is the size from which a larger disk makes no difference to a share.
const largestDisk = int64(320 * gibibyte)

// free is how many bytes are free at the mark, and how many more must be before
// what it set off is taken back (hysteresis): 2 % of the disk, or a tenth of a
// mark that is given in bytes.
func (m DiskMark) free(total int64) (at, margin int64) {
	percent, bytes, err := m.parse()
	switch {
	case err != nil:
		return 0, 0 // validate has refused it
	case bytes > 0:
		return bytes, bytes / 10
	}
	total = min(total, largestDisk)
	return int64(float64(total) * (100 - percent) / 100), total / 50
}

// parse returns either the share in use or the bytes left.
func (m DiskMark) parse() (percent float64, bytes int64, err error) {
	if number, ok := strings.CutSuffix(strings.TrimSpace(string(m)), "%"); ok {
		percent, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(percent >= 1 && percent <= 100) { // NaN is neither
			return 0, 0, fmt.Errorf("%q is not a share of the disk in use: write 1%% to 100%%", string(m))
		}
		return percent, 0, nil
	}
	var size Size
	if err := size.UnmarshalText([]byte(m)); err != nil || size <= 0 {
		return 0, 0, fmt.Errorf("%q is neither a share of the disk in use, like 90%%, nor bytes to be left, like 2GiB", string(m))
	}
	return 0, int64(size), nil
}

// later says whether m comes later than other, if the two can be compared
// without knowing the disk.
func (m DiskMark) later(other DiskMark) bool {
	percent, bytes, _ := m.parse()
	otherPercent, otherBytes, _ := other.parse()
	switch {
	case bytes > 0 && otherBytes > 0:
		return bytes < otherBytes
	case bytes == 0 && otherBytes == 0:
		return percent > otherPercent
	}
	return true
}
