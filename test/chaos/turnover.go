package chaos

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ledgermq/ledgermq/test/cluster"
)

const (
	// commandTimeout is what one command of the operator waits for.
	commandTimeout = "3s"
	// changeRetry is the wait before it is given again.
	changeRetry = 200 * time.Millisecond
	// mostOdd is how often in a row the group may give an outcome that cannot be true:
	// a leader that was deposed and has not noticed may, for less than a second.
	mostOdd = 15
)

// turnover takes a member out of the group and in again, command by command, as an operator
// would who tries again what has failed. It is advanced while other faults go on.
type turnover struct {
	n     *nemesis
	host  *host
	steps []step
	given chan outcome // of the command that runs; nil: none does
	next  time.Time    // of the next command
	doubt bool         // an earlier try of the step may have been done
	odd   int
}

// step is one command of `broker admin member`, and what follows when it is done.
type step struct {
	args []string
	said string // by the command, when it is done
	then func()
}

// outcome is what a command came to.
type outcome struct {
	text string
	code string // "" when it was done, or had none
	err  error
}

// replace removes a member, ends it, empties its directory, and adds it again.
func replace(n *nemesis, targets []*host) func() {
	h, crashes := targets[0], n.rng.IntN(3) == 0
	return n.begin(h, crashes, func() {
		h.kill()
		h.empty()
		h.node.Joins()
		h.start()
		n.counts.add("members removed and replaced by empty ones", 1)
	})
}

// removeLeader removes the leader, which hands over, and adds it again with what it has.
func removeLeader(n *nemesis, targets []*host) func() {
	h, crashes, restarts := targets[0], n.rng.IntN(3) == 0, n.rng.IntN(2) == 0
	return n.begin(h, crashes, func() {
		if restarts {
			h.kill()
			h.node.Joins()
			h.start()
		}
		n.counts.add("leaders removed, and added again with what they had", 1)
	})
}

// begin begins a change and returns what waits for its end.
func (n *nemesis) begin(h *host, crashes bool, removed func()) func() {
	c := &turnover{n: n, host: h}
	c.steps = []step{
		{[]string{"remove", h.node.ID}, " is removed", removed},
		{[]string{"add", h.node.ID, h.node.Peer}, " is added as a learner", func() {
			if crashes { // while it catches up
				h.kill()
				h.start()
			}
		}},
		{[]string{"promote", h.node.ID, "--wait", commandTimeout}, " is a voter", func() {}},
	}
	n.change = c
	return c.finish
}

// over tells whether nothing is left to be done.
func (c *turnover) over() bool { return len(c.steps) == 0 }

// finish waits for the end: nothing hinders the group any more.
func (c *turnover) finish() {
	overdue := time.Now().Add(healTime)
	for ; !c.over() && c.n.ctx.Err() == nil; pause(20 * time.Millisecond) {
		if time.Now().After(overdue) {
			c.n.t.Errorf("`member %s` was not done within %v after the last fault", strings.Join(c.steps[0].args, " "), healTime)
			break
		}
		c.advance()
		c.n.lookAfter()
	}
	c.n.change = nil
}

// advance gives the next command, or looks whether the last one has ended.
func (c *turnover) advance() {
	switch {
	case c.over():
	case c.given == nil && time.Now().After(c.next):
		c.given = c.n.operator(c.steps[0].args)
	case c.given != nil:
		select {
		case a := <-c.given:
			c.given, c.next = nil, time.Now().Add(changeRetry)
			c.take(a)
		default:
		}
	}
}

// take draws the consequences of an outcome. After a definite error everything is as it was.
func (c *turnover) take(a outcome) {
	s := c.steps[0]
	switch {
	// What it shows afterwards may fail.
	case a.err == nil, strings.Contains(a.text, s.said), a.code == "UNKNOWN_MEMBER" && s.args[0] == "remove" && c.doubt:
		c.n.log("member %s: done", strings.Join(s.args, " "))
		c.steps, c.doubt, c.odd = c.steps[1:], false, 0
		s.then()
		return
	case slices.Contains([]string{"UNKNOWN_MEMBER", "INVALID_MEMBER", "USAGE"}, a.code):
		if c.odd++; c.odd > mostOdd {
			c.n.t.Errorf("`member %s` cannot be refused with %s: %s", strings.Join(s.args, " "), a.code, a.text)
			c.steps = nil
		}
	default:
		c.odd = 0
	}
	if a.code == "" || strings.Contains(a.text, "(may have been done)") { // no code: the context's own error
		c.doubt = true
		c.n.counts.add("changes of the group of unknown outcome, asked for again", 1)
	} else {
		c.n.counts.add("changes of the group that were refused, and asked for again", 1)
	}
	c.n.log("member %s: %s", strings.Join(s.args, " "), a.text[max(0, len(a.text)-300):])
}

// exitNote is how an error line of our programs ends.
var exitNote = regexp.MustCompile(`\(exit \d+(?:, ([A-Z_]+))?\)\s*$`)

// operator runs a command of `broker admin member`.
func (n *nemesis) operator(args []string) chan outcome {
	var servers []string
	for _, h := range n.hosts {
		servers = append(servers, h.node.Client)
	}
	line := append([]string{"admin", "--server", strings.Join(servers, ","), "--timeout", commandTimeout, "member"}, args...)
	given := make(chan outcome, 1)
	go func() {
		ctx, cancel := context.WithTimeout(n.ctx, cluster.Timeout)
		defer cancel()
		out, err := cluster.Program(ctx, "broker", line...).CombinedOutput()
		a := outcome{text: strings.TrimSpace(string(out)), err: err}
		if note := exitNote.FindStringSubmatch(a.text); note != nil {
			a.code = note[1]
		}
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			a.text += err.Error()
		}
		given <- a
	}()
	return given
}
