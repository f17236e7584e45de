package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// startBroker runs a broker in this process and returns a client of it and its address.
func startBroker(t *testing.T) (*client.Client, string) {
	t.Helper()
	s := clitest.StartServer(t, nil, nil)
	return s.Client, s.Addr
}

// offsetsFound are the places in what `message find -o json` printed.
func offsetsFound(t *testing.T, out string) (places []string) {
	t.Helper()
	var found []struct {
		Topic  string
		Queue  int
		Offset int64
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err, out)
	}
	for _, m := range found {
		places = append(places, fmt.Sprintf("%s/%d@%d", m.Topic, m.Queue, m.Offset))
	}
	return places
}

func TestMessages(t *testing.T) {
	c, addr := startBroker(t)
	if _, err := c.Admin().CreateTopic(t.Context(), "orders", 2); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	one := 1
	for i := range 30 {
		m := client.Message{Queue: &one, Key: fmt.Appendf(nil, "o'k%d", i%10), ID: fmt.Sprint("id-", i), Tag: "paid", Value: fmt.Append(nil, "value ", i)}
		m.Headers = []client.Header{{Key: "n", Value: fmt.Append(nil, i)}}
		if _, err := p.Publish(t.Context(), m).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--id", "id-7"}, "orders/1@7"},
		{[]string{"--key", "o'k3"}, "orders/1@3 orders/1@13 orders/1@23"},
		{[]string{"--key", "o'k3", "-n", "2"}, "orders/1@3 orders/1@13"},
		{[]string{"--key", "o'k3", "--filter", "n > 3 -- more"}, "orders/1@13 orders/1@23"},
		{[]string{"--tag", "paid || open", "-n", "1"}, "orders/1@0"},
		{[]string{"--from", "1h", "--to", "0s", "-n", "1"}, "orders/1@0"},
	} {
		out, errs, code := run(t, append([]string{"admin", "--server", addr, "message", "find", "orders", "-o", "json"}, tc.args...)...)
		if code != cli.ExitOK {
			t.Errorf("%v: exit %d, %s", tc.args, code, errs)
		} else if got := strings.Join(offsetsFound(t, out), " "); got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.args, got, tc.want)
		}
	}
	out, errs, _ := run(t, "admin", "--server", addr, "message", "get", "orders/1@7")
	for _, want := range []string{"orders/1@7", "paid", "id-7", "o'k7", "value 7", "n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s%s", want, out, errs)
		}
	}
	for want, args := range map[string][]string{
		"has no offset 30 yet: its end is 30 (exit 4":   {"get", "orders/1@30"},
		"no such message in what was looked at (exit 4": {"find", "orders", "--id", "none"},
		"want TOPIC/QUEUE@OFFSET":                       {"get", "orders@7"},
		"no such message in what was looked at":         {"find", "orders", "--from", time.Now().Add(time.Hour).Format(time.RFC3339)},
		"filter, column 5: the text has no end":         {"find", "orders", "--filter", "n = 'x"},
		`--from: time "soon": want such as`:             {"find", "orders", "--from", "soon"},
		"--from 1h is not before --to 2h":               {"find", "orders", "--from", "1h", "--to", "2h"},
		"no time lies between them (exit 2, USAGE)":     {"find", "orders", "--id", "id-7", "--from", "1h", "--to", "1h"},
		`"orders" beside --handle`:                      {"trace", "orders", "--handle", "xyz"},
		"--id beside --handle":                          {"trace", "--id", "id-7", "--handle", "xyz"},
		"--tag stands alone":                            {"find", "orders", "--tag", "a", "--id", "b"},
	} {
		_, errs, code := run(t, append([]string{"admin", "--server", addr, "message"}, args...)...)
		if code == cli.ExitOK || !strings.Contains(errs, want) {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
	}
}

func TestMessagesByKeyIndex(t *testing.T) {
	c, addr := startBroker(t)
	if _, err := c.Admin().CreateTopicWith(t.Context(), "indexed", 1, client.TopicSettings{KeyIndex: true}); err != nil {
		t.Fatal(err)
	}
	indexed, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "indexed"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := indexed.Publish(t.Context(), client.Message{Key: []byte("k"), ID: fmt.Sprint(i)}).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, _ := run(t, "admin", "--server", addr, "message", "find", "indexed", "-o", "json", "--key", "k", "--from", "1h")
	if got := strings.Join(offsetsFound(t, out), " "); got != "indexed/0@0 indexed/0@1 indexed/0@2" || errs != "" {
		t.Errorf("got %s, and %s", got, errs)
	}
	if _, errs, code := run(t, "admin", "--server", addr, "topic", "key-index", "indexed", "off"); code != cli.ExitOK {
		t.Error(errs)
	}
	if out, errs, _ = run(t, "admin", "--server", addr, "message", "find", "indexed", "-o", "json", "--id", "1"); !strings.Contains(errs, "3 messages were gone through") || !strings.Contains(errs, "topic key-index indexed on") {
		t.Errorf("%s%s", out, errs)
	}
	if _, errs, code := run(t, "admin", "--server", addr, "topic", "key-index", "indexed", "on"); code != cli.ExitOK {
		t.Error(errs)
	}
	if out, errs, _ = run(t, "admin", "--server", addr, "message", "find", "indexed", "-o", "json", "--id", "1"); !strings.Contains(errs, "turned on after they had come") || strings.Contains(errs, "topic key-index indexed on") {
		t.Errorf("an index that is on is no advice: %s%s", out, errs)
	}
}

func TestMessageTrace(t *testing.T) {
	c, addr := startBroker(t)
	if _, err := c.Admin().CreateTopic(t.Context(), "orders", 1); err != nil {
		t.Fatal(err)
	}
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	m := client.Message{Key: []byte("k"), ID: "the-id", Tag: "paid", Value: []byte("12345"), Delay: time.Millisecond}
	if _, err := p.Publish(t.Context(), m).Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	cs, err := c.GroupConsumer(t.Context(), client.GroupConfig{Group: "billing", Topic: "orders", Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close(t.Context())
	got, err := cs.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cs.Finish(&got)
	if err := cs.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, errs, code := run(t, "admin", "--server", addr, "message", "trace", "orders", "--id", "the-id")
	for _, want := range []string{"orders/0@0", "the-id", "paid", "message 1 of 1", "delivered", "it was due at", "billing", "past it", "n1"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in (exit %d):\n%s%s", want, code, out, errs)
		}
	}
	out, _, _ = run(t, "admin", "--server", addr, "message", "trace", "orders/0@0", "-o", "json")
	var trace messageTrace
	if err := json.Unmarshal([]byte(out), &trace); err != nil {
		t.Fatal(err, out)
	}
	if trace.Delivery == nil || trace.Delivery.Due == nil || trace.Producer == nil || trace.ValueBytes != 5 || len(trace.Groups) != 1 || !trace.Groups[0].Past {
		t.Errorf("got %s", out)
	}
	m.Delay = time.Hour
	waits, err := p.Publish(t.Context(), m).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out, errs, _ := run(t, "admin", "--server", addr, "message", "trace", "--handle", waits.Handle); !strings.Contains(out, "waits") || !strings.Contains(out, "until ") || strings.Contains(out, "GROUP") {
		t.Errorf("%s%s", out, errs)
	}
	if err := p.Recall(t.Context(), waits.Handle); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run(t, "admin", "--server", addr, "message", "trace", "--handle", waits.Handle); code != cli.ExitNotFound || !strings.Contains(errs, "(exit 4, NOT_WAITING)") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, _, code := run(t, "admin", "--server", addr, "message", "trace"); code != cli.ExitUsage {
		t.Errorf("exit %d", code)
	}
	if _, errs, code := run(t, "admin", "--server", addr, "message", "trace", "orders", "--id", "none"); code != cli.ExitNotFound {
		t.Errorf("exit %d: %s", code, errs)
	}
}
