package broker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

var update = flag.Bool("update", false, "write the generated parts of docs/errors.md and docs/metrics.md")

func testTranslator() *translator {
	return &translator{
		view: func() leaderView { return leaderView{self: "n1", leader: "n2", addr: "mq2:10911", term: 7} },
		log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func errorInfo(t *testing.T, err error) *errdetails.ErrorInfo {
	t.Helper()
	st, ok := status.FromError(err)
	require.True(t, ok, "%v", err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

func TestEveryCodeReachesTheClient(t *testing.T) {
	tr := testTranslator()
	for _, want := range codeTable {
		err := tr.status("/m", fmt.Errorf("while testing: %w", errorf(want.code, "what happened")))
		require.Equal(t, want.status, status.Code(err), want.code)
		info := errorInfo(t, err)
		require.Equal(t, string(want.code), info.GetReason())
		require.Equal(t, "ledgermq", info.GetDomain())
		md := info.GetMetadata()
		require.Equal(t, "n1", md["node"])
		require.Equal(t, "7", md["term"])
		require.Equal(t, "n2", md["leader"])
		require.Equal(t, "mq2:10911", md["leader_addr"])
		if want.indefinite {
			require.Equal(t, "indefinite", md["outcome"])
		} else {
			require.Equal(t, "definite", md["outcome"])
		}
		if want.retryAfter > 0 {
			require.Equal(t, fmt.Sprint(want.retryAfter.Milliseconds()), md["retry_after_ms"])
		}
		detail := tr.detail(errorf(want.code, "what happened"))
		require.Equal(t, string(want.code), detail.GetCode())
		require.Equal(t, want.indefinite, detail.GetIndefinite())
	}
}

func TestErrorsOfThePackagesBelow(t *testing.T) {
	tr := testTranslator()
	for _, tc := range []struct {
		err    error
		reason Code
		status codes.Code
	}{
		{&dledger.Error{Code: dledger.CodeLeadershipLost, Indefinite: true}, CodeLeadershipLost, codes.Unavailable},
		{fmt.Errorf("x: %w", &batch.LimitError{What: "batch", Size: 2, Max: 1}), CodeMessageTooLarge, codes.InvalidArgument},
		{&batch.CorruptError{}, CodeCorruptBatch, codes.DataLoss},
		{batch.ErrInvalid, CodeInvalidBatch, codes.InvalidArgument},
		{errors.New("disk on fire"), CodeInternal, codes.Internal},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max"), "", codes.ResourceExhausted},
		{status.Error(codes.Unimplemented, "unknown method"), "", codes.Unimplemented},
		{context.DeadlineExceeded, "", codes.DeadlineExceeded},
		{fmt.Errorf("x: %w", context.Canceled), "", codes.Canceled},
	} {
		err := tr.status("/m", tc.err)
		require.Equal(t, tc.status, status.Code(err), "%v", tc.err)
		require.Equal(t, string(tc.reason), errorInfo(t, err).GetReason(), "%v", tc.err)
	}
	require.NotContains(t, tr.status("/m", errors.New("disk on fire")).Error(), "fire", "what is inside stays inside")
	require.NoError(t, tr.status("/m", nil))
}

// TestEveryCodeIsInTheTable fails when a package below gives a code that clients
// could not look up.
func TestEveryCodeIsInTheTable(t *testing.T) {
	for _, code := range []string{
		dledger.CodeNotLeader, dledger.CodeNoLeader, dledger.CodeLeaderNotReady, dledger.CodeLeaderTransferring,
		dledger.CodeLeadershipLost, dledger.CodePendingFull, dledger.CodeShuttingDown, dledger.CodeUnknownMember,
		dledger.CodeTransferFailed, dledger.CodeInvalidProposal,
		state.CodeUnknownQueue, state.CodeUnknownProducer, state.CodeTooManyProducers, state.CodeProducerFenced,
		state.CodeOutOfOrderSequence, state.CodeSequenceConflict, state.CodeUnknownTopic, state.CodeTopicExists,
		state.CodeInvalidTopicName, state.CodeLimitExceeded,
	} {
		require.Contains(t, codeInfos, Code(code))
	}
	require.Len(t, codeInfos, len(codeTable), "a code stands twice in the table")
}

const errorsDocument = "../../docs/errors.md"

func TestErrorsDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("| code | gRPC status | outcome | what it means | what to do |\n|---|---|---|---|---|\n")
	for _, c := range codeTable {
		outcome := "definite"
		if c.indefinite {
			outcome = "**indefinite**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", c.code, c.status, outcome, c.means, c.todo)
	}
	compareDocument(t, errorsDocument, b.String())
}

// compareDocument compares the part between the generated markers of a document.
func compareDocument(t *testing.T, path, want string) {
	t.Helper()
	const begin, end = "<!-- generated: begin -->\n", "<!-- generated: end -->"
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(raw), begin)
	require.True(t, ok, "%s has no %q", path, begin)
	got, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "%s has no %q", path, end)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+want+end+tail), 0o600))
		return
	}
	require.Equal(t, want, got, "run: go test ./pkg/broker -run %s -update", t.Name())
}
