package broker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestRunTellsWhyTheLogFailed lets the commit log fail for want of a place for its next
// segment. Everything else stops for that reason; it is the reason that Run returns.
func TestRunTellsWhyTheLogFailed(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Storage.SegmentBytes = 1 << 20
		c.Limits.MaxBatchBytes = 256 << 10
	})
	queue := n.createTopic("t", 1)[0]
	dir := filepath.Join(n.cfg.Node.Data, "ledger", "commitlog")
	require.NoError(t, os.Rename(dir, dir+".gone"))

	large := strings.Repeat("x", 200<<10)
	for {
		_, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: makeBatch(t, batch.Stamp{Queue: queue}, large)})
		if err != nil {
			break
		}
	}
	select {
	case err := <-n.done:
		require.ErrorContains(t, err, "commit log failed")
		require.NotContains(t, err.Error(), "SHUTTING_DOWN")
	case <-time.After(patience):
		t.Fatal("the broker goes on without a commit log")
	}
}
