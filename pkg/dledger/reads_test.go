package dledger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// What a peer lacks, and what is to be applied, is read for the group, and all else for
// clients: the ones do not wait for the others.
func TestWhoOldEntriesAreReadFor(t *testing.T) {
	const name, large = "broker_commitlog_read_bytes_total", 8000
	c := newCluster(t, 3, smallSegments)
	c.publish("first")
	c.awaitEqual()
	leader := c.leader()
	late := c.others(leader.id)[0].id
	c.shutDown(late)
	for i := range 20 {
		c.publish(fmt.Sprint(i, strings.Repeat("x", large)))
	}
	group, clients := counted(t, leader, name, "group"), counted(t, leader, name, "clients")
	n := c.start(late)
	end := leader.Status().End
	n.await(t, "what it lacks", func(st *Status) bool { return st.Applied >= end })
	require.GreaterOrEqual(t, counted(t, leader, name, "group")-group, 15.*large, "pushed")
	require.Equal(t, clients, counted(t, leader, name, "clients"))

	f, err := leader.Read(5, 5, 1<<20)
	require.NoError(t, err)
	f.Release()
	require.Greater(t, counted(t, leader, name, "clients"), clients)

	c.shutDown(late) // it may have been pushed everything at once, and have it all in its tail
	n = c.start(late)
	n.await(t, "what it has", func(st *Status) bool { return st.Applied >= end })
	applied := n.applied.Load()
	n.applied.Store(int64(commitlog.NoIndex))
	group = counted(t, n, name, "group")
	f, err = n.Read(5, 5, 1<<20)
	require.NoError(t, err)
	f.Release()
	n.applied.Store(applied)
	require.Greater(t, counted(t, n, name, "group"), group, "to apply it")
}
