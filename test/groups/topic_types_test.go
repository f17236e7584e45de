package groups

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// TestTopicTypesOverAFailover: each type takes its own messages and refuses the others for
// certain, before and after its leader is killed.
func TestTopicTypesOverAFailover(t *testing.T) {
	members, seeds := startBrokers(t, broker.GroupTiming{})
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	types := []client.TopicType{client.MixedTopic, client.NormalTopic, client.FIFOTopic, client.DelayTopic, client.TransactionTopic}
	messages := map[client.TopicType]client.Message{
		client.NormalTopic: {Key: []byte("k")}, client.FIFOTopic: {MessageGroup: "g"}, client.DelayTopic: {Delay: time.Hour}, client.TransactionTopic: {},
	}
	senders, producers := map[client.TopicType]*client.Transactional{}, map[client.TopicType]*client.Producer{}
	for _, kind := range types {
		_, err := c.Admin().CreateTopicWith(t.Context(), kind.String(), 2, client.TopicSettings{Type: kind})
		require.NoError(t, err)
		producers[kind], err = c.Producer(t.Context(), client.ProducerConfig{Topic: kind.String()})
		require.NoError(t, err)
		senders[kind], err = c.Transactional(t.Context(), client.TransactionalConfig{
			Group: "tests", Producer: client.ProducerConfig{Topic: kind.String()},
			Check: func(context.Context, client.Message) client.Decision { return client.Unknown },
		})
		require.NoError(t, err)
	}
	tryAll := func() {
		for _, kind := range types {
			for came, m := range messages {
				fits := kind == client.MixedTopic || kind == came
				var err error
				if came == client.TransactionTopic {
					_, err = senders[kind].Begin(t.Context(), m)
				} else {
					_, err = producers[kind].Publish(t.Context(), m).Get(t.Context())
				}
				if fits {
					require.NoError(t, err, "%v in %v", came, kind)
					continue
				}
				var refused *client.Error
				require.True(t, errors.As(err, &refused), "%v in %v: %v", came, kind, err)
				require.ErrorIs(t, err, client.ErrMessageTypeMismatch)
				require.False(t, refused.Indefinite)
				require.Contains(t, refused.Message, fmt.Sprintf("takes %v messages", kind))
			}
		}
	}
	tryAll()
	killLeader(t, c, members)
	tryAll()
}

// TestProducersLearnWhatTheirTopicTakes when a broker refuses a message, long before they
// would look by themselves.
func TestProducersLearnWhatTheirTopicTakes(t *testing.T) {
	_, seeds := startBrokers(t, broker.GroupTiming{})
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(t.Context(), "t", 1)
	require.NoError(t, err)
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "t", TopicRefresh: time.Hour})
	require.NoError(t, err)
	send := func() error {
		_, err := p.Publish(t.Context(), client.Message{MessageGroup: "g", Value: make([]byte, 2_000)}).Get(t.Context())
		return err
	}
	require.NoError(t, send())
	_, err = c.Admin().AlterTopic(t.Context(), "t", client.TopicChange{Type: new(client.FIFOTopic)})
	require.ErrorIs(t, err, client.ErrInvalidTopicChange, "it holds a message")
	_, err = c.Admin().TrimTopic(t.Context(), "t", map[int]int64{0: 1})
	require.NoError(t, err)
	_, err = c.Admin().AlterTopic(t.Context(), "t", client.TopicChange{Type: new(client.FIFOTopic), MaxMessageBytes: new(1_024)})
	require.NoError(t, err)
	require.ErrorIs(t, send(), client.ErrMessageTypeMismatch, "it does not know yet")
	require.Eventually(t, func() bool { return errors.Is(send(), client.ErrMessageTooLarge) }, patience, time.Millisecond)
	p, err = c.Producer(t.Context(), client.ProducerConfig{Topic: "t", TopicRefresh: 100 * time.Millisecond})
	require.NoError(t, err)
	require.ErrorIs(t, send(), client.ErrMessageTooLarge)
	_, err = c.Admin().AlterTopic(t.Context(), "t", client.TopicChange{MaxMessageBytes: new(0)})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return send() == nil }, patience, time.Millisecond)
	got, err := c.Admin().DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, int64(1), got.Queues[0].First)
	require.Greater(t, got.Queues[0].End, int64(1))
}
