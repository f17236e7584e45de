package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// Read a topic as a member of a consumer group. A message is committed after the next one
// was asked for, so one that was being worked on when the process died comes again.
func ExampleClient_GroupConsumer() {
	cfg, stop := client.StartCluster()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	p, err := c.Producer(ctx, client.ProducerConfig{Topic: "orders"})
	if err != nil {
		fmt.Println(err)
		return
	}
	queue := 0
	for i := range 3 {
		p.Publish(ctx, client.Message{Queue: &queue, Value: fmt.Appendf(nil, "order %d", i)})
	}

	g, err := c.GroupConsumer(ctx, client.GroupConfig{Group: "billing", Topic: "orders", From: client.Earliest()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		m, err := g.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %s\n", m.Offset, m.Value)
		if m.Offset == 2 {
			g.Finish(&m) // no call of Next follows
		}
	}
	fmt.Println(g.Close(ctx))
	// Output:
	// 0 order 0
	// 1 order 1
	// 2 order 2
	// <nil>
}
