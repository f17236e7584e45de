package group

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func candidates(n int, topics ...string) []Candidate {
	var all []Candidate
	for i := range n {
		all = append(all, Candidate{fmt.Sprint("m", i), topics})
	}
	return all
}

func queuesOf(topic string, from, n int) []Queue {
	var all []Queue
	for i := range n {
		all = append(all, Queue{QueueID(from + i), topic, uint32(i)})
	}
	return all
}

func loads(owners map[QueueID]string) map[string]int {
	counts := map[string]int{}
	for _, m := range owners {
		counts[m]++
	}
	return counts
}

// TestStickyOfEqualMembers: every queue one owner, balance within 1, and no move that
// another assignment of that balance would not need.
func TestStickyOfEqualMembers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n, q := rapid.IntRange(1, 9).Draw(rt, "members"), rapid.IntRange(0, 40).Draw(rt, "queues")
		queues := append(queuesOf("a", 1, q/2), queuesOf("b", 1+q/2, q-q/2)...)
		before := map[QueueID]string{}
		for _, queue := range queues {
			// Some had owners that are gone, some had none.
			if at := rapid.IntRange(-1, n+2).Draw(rt, "owner"); at >= 0 {
				before[queue.ID] = fmt.Sprint("m", at)
			}
		}
		members := candidates(n, "a", "b")
		after := Sticky(members, queues, before)
		require.Len(rt, after, q)
		kept := make([]int, n)
		for _, m := range before {
			var i int
			_, err := fmt.Sscanf(m, "m%d", &i)
			require.NoError(rt, err)
			if i < n {
				kept[i]++
			}
		}
		counts := loads(after)
		for _, m := range members {
			require.Contains(rt, []int{q / n, (q + n - 1) / n}, counts[m.Member], "balance")
		}
		// The most that can stay: the members that had most keep one more than the others.
		slices.SortFunc(kept, func(a, b int) int { return b - a })
		most := 0
		for i, had := range kept {
			target := q / n
			if i < q%n {
				target++
			}
			most += min(had, target)
		}
		stayed := 0
		for id, m := range after {
			if before[id] == m {
				stayed++
			}
		}
		require.Equal(rt, most, stayed, "as many as possible stay: %v to %v", before, after)
		require.Equal(rt, after, Sticky(members, queues, after), "what is balanced stays")
	})
}

// TestStickyOfUnequalMembers: nobody is given what it does not read, nothing that somebody
// reads is left over, and no move could make it fairer.
func TestStickyOfUnequalMembers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		topics := []string{"a", "b", "c"}
		var members []Candidate
		reads := map[string][]string{}
		for i := range rapid.IntRange(0, 6).Draw(rt, "members") {
			m := Candidate{Member: fmt.Sprint("m", i)}
			for _, topic := range topics {
				if rapid.Bool().Draw(rt, "reads") {
					m.Topics = append(m.Topics, topic)
				}
			}
			members = append(members, m)
			reads[m.Member] = m.Topics
		}
		var queues []Queue
		before := map[QueueID]string{}
		for i, topic := range topics {
			queues = append(queues, queuesOf(topic, 1+100*i, rapid.IntRange(0, 9).Draw(rt, "queues"))...)
		}
		for _, q := range queues {
			before[q.ID] = fmt.Sprint("m", rapid.IntRange(0, 7).Draw(rt, "owner"))
		}
		after := Sticky(members, queues, before)
		counts := loads(after)
		for _, q := range queues {
			owner, given := after[q.ID]
			for _, m := range members {
				if !slices.Contains(m.Topics, q.Topic) {
					continue
				}
				require.True(rt, given, "queue %d has nobody", q.ID)
				require.LessOrEqual(rt, counts[owner], counts[m.Member]+1, "queue %d could move from %s to %s", q.ID, owner, m.Member)
			}
			require.True(rt, !given || slices.Contains(reads[owner], q.Topic))
		}
	})
}

func TestStatic(t *testing.T) {
	wishes := map[string][]QueueID{"a": {1, 2}, "b": {2, 3}}
	require.Equal(t, map[QueueID]string{1: "a", 2: "a", 3: "b"}, Static(wishes, nil))
	require.Equal(t, map[QueueID]string{1: "a", 2: "b", 3: "b"}, Static(wishes, map[QueueID]string{2: "b"}), "the owner keeps it")
	require.Empty(t, Static(nil, map[QueueID]string{2: "b"}))
}

func BenchmarkStickyJoin(b *testing.B) {
	queues := queuesOf("a", 1, 8_000)
	owners := Sticky(candidates(99, "a"), queues, nil)
	for b.Loop() {
		Sticky(candidates(100, "a"), queues, owners)
	}
}
