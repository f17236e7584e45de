package workload

import (
	"context"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// AskProgress asks how far a consumer group is in a topic, and notes the answer. Only
// where no leader can be deposed without knowing it: such a one may tell what was.
func (s *Scene) AskProgress(ctx context.Context, c *client.Client, who, group, topic string) (lag int64, err error) {
	asked := s.Recorder.Now()
	d, err := c.Admin().DescribeGroup(ctx, group)
	if err != nil {
		return 0, fmt.Errorf("progress of %s: %w", group, err)
	}
	for _, q := range d.QueueList {
		if q.Topic != topic {
			continue
		}
		o := s.operation(history.Progress, who, topic, q.Queue)
		o.Group, o.Invoke, o.Complete, o.Offset = group, asked, s.Recorder.Now(), max(0, q.Offset)
		if err := s.write(o); err != nil {
			return 0, err
		}
	}
	return d.Lag, nil
}
