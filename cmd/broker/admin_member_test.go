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

// TestMemberReplaceNeverRemovesForNobody: OLD goes only when NEW has come, at the address that
// was named, and what was interrupted goes on.
func TestMemberReplaceNeverRemovesForNobody(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		code cli.ExitCode
		want string   // on stderr
		done []string // the changes of the group
	}{
		{"itself", []string{"n3", "n3", "n3:1"}, cli.ExitUsage, "start it with an empty directory (exit 2, USAGE)", nil},
		{"by a member elsewhere", []string{"n1", "n2", "bogus.host:1"}, cli.ExitUsage, "n2 is in the group already, at n2:1 and not at bogus.host:1", nil},
		{"a stranger by a member elsewhere", []string{"n9", "n2", "bogus.host:1"}, cli.ExitUsage, "(exit 2, INVALID_MEMBER)", nil},
		{"a stranger", []string{"n9", "n4", "n4:1"}, cli.ExitNotFound, "n9 is not in the group: see broker admin member list (exit 4, UNKNOWN_MEMBER)", nil},
		{"from the start", []string{"n3", "n4", "n4:1"}, cli.ExitOK, "n3 is removed", []string{"add n4", "promote n4", "remove n3"}},
		{"the rest", []string{"n3", "n2", "n2:1"}, cli.ExitOK, "n3 is removed", []string{"remove n3"}},
		{"once more", []string{"n9", "n2", "n2:1"}, cli.ExitOK, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFakeCluster(t, "n1", "n2", "n3")
			_, errs, code := run(t, append([]string{"admin", "--server", f.addr, "member", "replace"}, tc.args...)...)
			require.Equal(t, tc.code, code, errs)
			require.Contains(t, errs, tc.want)
			require.Equal(t, tc.done, f.changes())
		})
	}
}

// TestMemberChangeIsShownSettled: the group below a change is read again until it covers it.
func TestMemberChangeIsShownSettled(t *testing.T) {
	f := startFakeCluster(t, "n1", "n2", "n3")
	for _, args := range [][]string{{"add", "n4", "n4:1"}, {"promote", "n4"}, {"remove", "n4"}} {
		out, errs, code := run(t, append([]string{"admin", "--server", f.addr, "member"}, args...)...)
		require.Zero(t, code, errs)
		require.NotContains(t, out, "changing", args)
	}
}
