package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// TestTimeoutSaysWhatEnded: the end of --timeout has a code, its length and what to do. An
// error that knows more stays as it is.
func TestTimeoutSaysWhatEnded(t *testing.T) {
	a := &admin{timeout: time.Millisecond}
	after := func(result func(error) error) string {
		return cli.Describe("broker", a.brief(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return result(ctx.Err())
		}))
	}
	require.Equal(t, `broker: no answer within 1ms: topic "a": context deadline exceeded: nobody leads, or the leader is slow or cut off; `+
		`a change that was asked for may have been made or not; see broker admin status (exit 6, TIMEOUT)`,
		after(func(err error) error { return fmt.Errorf("topic %q: %w", "a", err) }))
	require.Contains(t, after(func(error) error { return &client.Error{Code: client.CodeNoLeader, Message: "nobody leads"} }), "(exit 6, NO_LEADER)")
	require.Contains(t, after(func(err error) error {
		return errors.Join(&client.Error{Code: client.CodeQuorumTimeout, Message: "no quorum"}, err)
	}), "(exit 6, WAIT_QUORUM_ACK_TIMEOUT)")
	require.Contains(t, after(func(error) error { return errors.New("the paper is out") }), "(exit 1)")
	require.NoError(t, a.brief(t.Context(), func(context.Context) error { return nil }))
}
