package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// Publish a message and wait for the proof that it is stored.
func Example() {
	cfg, stop := client.StartCluster() // your Config: Seeds: []string{"mq1:10911", …}
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
	receipt, err := p.Publish(ctx, client.Message{Key: []byte("customer-7"), Value: []byte("two apples")}).Get(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s/%d@%d\n", receipt.Topic, receipt.Queue, receipt.Offset)
	fmt.Println(p.Close(ctx))
	// Output:
	// orders/0@0
	// <nil>
}

// Publish many messages without waiting for each: futures are looked at later,
// Publish itself waits only when too much is under way.
func ExampleProducer_Publish() {
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

	var results []*client.Result
	for i := range 1000 {
		results = append(results, p.Publish(ctx, client.Message{Value: fmt.Appendf(nil, "order %d", i)}))
	}
	for _, r := range results {
		_, err := r.Get(ctx)
		var e *client.Error
		switch {
		case err == nil:
		case errors.As(err, &e) && e.Indefinite:
			fmt.Println("may have been stored:", err)
		default:
			fmt.Println("certainly not stored:", err)
		}
	}
	fmt.Println(p.Stats().Acked, "acknowledged")
	// Output: 1000 acknowledged
}

// Publish a message that is to be delivered later, and change your mind.
func ExampleProducer_Recall() {
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

	receipt, err := p.Publish(ctx, client.Message{Value: []byte("pay now, please"), Delay: 24 * time.Hour}).Get(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Paid meanwhile.
	switch err := p.Recall(ctx, receipt.Handle); {
	case err == nil:
		fmt.Println("never delivered")
	case errors.Is(err, client.ErrNotWaiting):
		fmt.Println("too late")
	default:
		fmt.Println(err)
	}
	// Output: never delivered
}

// Publish a message if, and only if, an order is in the database: the message is
// stored before and delivered after. Should this process die in between, another one
// of the group is asked what became of the order.
func ExampleClient_Transactional() {
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
	var database sync.Map
	p, err := c.Transactional(ctx, client.TransactionalConfig{
		Producer: client.ProducerConfig{Topic: "orders"}, Group: "shop",
		Check: func(_ context.Context, m client.Message) client.Decision {
			if _, ordered := database.Load(string(m.Key)); ordered {
				return client.Commit
			}
			return client.Unknown // it may still come
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	tx, err := p.Begin(ctx, client.Message{Key: []byte("order-7"), Value: []byte("two apples")})
	if err != nil {
		fmt.Println(err)
		return
	}
	database.Store("order-7", "two apples")
	offset, err := tx.Commit(ctx)
	fmt.Println(offset, err)
	// Output: 0 <nil>
}

// Read a topic from its beginning. Errors tell what is wrong with the offsets; no
// message is ever skipped silently.
func ExampleConsumer_Next() {
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
	queue := 1
	for _, v := range []string{"one", "two", "three"} {
		p.Publish(ctx, client.Message{Queue: &queue, Value: []byte(v)})
	}

	cs, err := c.Consumer(ctx, client.ConsumerConfig{Topic: "orders", From: client.Earliest()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		m, err := cs.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s/%d@%d %s\n", m.Topic, *m.Queue, m.Offset, m.Value)
	}
	// Output:
	// orders/1@0 one
	// orders/1@1 two
	// orders/1@2 three
}

// Tell errors apart by their code.
func ExampleError() {
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

	_, err = c.Producer(ctx, client.ProducerConfig{Topic: "oders"})
	fmt.Println(errors.Is(err, client.ErrUnknownTopic), client.CodeOf(err))
	// Output: true UNKNOWN_TOPIC
}
