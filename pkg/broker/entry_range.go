package broker

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// EntryRange names entries of the ledger, as FIRST-LAST or one number; empty: none.
type EntryRange string

func (r EntryRange) parse() (first, last commitlog.Index, err error) {
	if r == "" {
		return 0, commitlog.NoIndex, nil
	}
	from, to, isRange := strings.Cut(string(r), "-")
	if !isRange {
		to = from
	}
	a, err := strconv.ParseInt(from, 10, 64)
	if err == nil {
		var b int64
		if b, err = strconv.ParseInt(to, 10, 64); err == nil && a >= 0 && a <= b {
			return commitlog.Index(a), commitlog.Index(b), nil
		}
	}
	return 0, commitlog.NoIndex, fmt.Errorf("%q names no entries: write FIRST-LAST, as the log line about them does", string(r))
}

// covers says whether entry i is one of them.
func (r EntryRange) covers(i commitlog.Index) bool {
	first, last, err := r.parse()
	return err == nil && first <= i && i <= last
}
