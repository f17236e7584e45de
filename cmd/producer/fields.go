package main

import (
	"strings"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// fields are what the command line gives to every message. A key, tag, group or header that a
// message brings with it, as jsonl does, wins.
type fields struct {
	key, tag string
	group    string   // of messages, which keeps their order
	texts    []string // of headers
	headers  []client.Header
}

// check reads the headers, and refuses what the input cannot have.
func (f *fields) check(bench, delimited bool) error {
	switch {
	case bench && (f.key != "" || f.tag != "" || f.group != "" || len(f.texts) > 0):
		return cli.Usagef("--bench makes its own messages, without --key, --tag, --message-group and --header")
	case f.key != "" && delimited:
		return cli.Usagef("--key and --key-delimiter say the same thing twice: give one")
	}
	f.headers = nil
	for _, text := range f.texts {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return cli.Usagef("--header %s: want NAME=VALUE", text)
		}
		f.headers = append(f.headers, client.Header{Key: name, Value: []byte(value)})
	}
	return nil
}

// complete gives a message what it has not.
func (f *fields) complete(m *client.Message) {
	if m.Key == nil && f.key != "" {
		m.Key = []byte(f.key)
	}
	if m.Tag == "" {
		m.Tag = f.tag
	}
	if m.MessageGroup == "" {
		m.MessageGroup = f.group
	}
	if len(m.Headers) == 0 {
		m.Headers = f.headers
	}
}
