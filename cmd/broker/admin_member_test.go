package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// brokenWriter takes nothing.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the paper is out") }

// TestMemberChangeThatCannotBeShownIsDone: the list behind a change fails, and the command
// says that the change was made, with exit code 0. The list alone fails as ever.
func TestMemberChangeThatCannotBeShownIsDone(t *testing.T) {
	c, addr := startBroker(t)
	command := func(args ...string) (string, cli.ExitCode) {
		var errs bytes.Buffer
		streams := cli.Streams{In: strings.NewReader(""), Out: brokenWriter{}, Err: &errs}
		exit := cli.Execute(t.Context(), newRoot(streams), append([]string{"admin", "--server", addr, "member"}, args...), streams)
		return errs.String(), exit
	}
	errs, exit := command("add", "n2", "127.0.0.1:1")
	require.Zero(t, exit, errs)
	require.Contains(t, errs, "n2 at 127.0.0.1:1 is added as a learner")
	require.Contains(t, errs, "warning: the change was made")
	group, err := c.Admin().Members(t.Context(), false)
	require.NoError(t, err)
	require.Len(t, toGroup(group).Members, 2)
	errs, exit = command("list")
	require.Equal(t, cli.ExitFailed, exit, errs)
	errs, exit = command("remove", "n9")
	require.NotZero(t, exit, "a change that fails is not done")
	require.Contains(t, errs, string(client.CodeUnknownMember))
	require.NotContains(t, errs, "warning")
}
