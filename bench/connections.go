package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"image-cri-shim/proxy/proxytest"
)

// connectionCost is the cost to a process of many open connections of other clients.
type connectionCost struct {
	Connections   int
	Time          spread  // p50 of Version with them, divided by the p50 without them
	PerConnection float64 // resident KiB added by each of them
}

// measureConnections compares the p50 of Version, one at a time, in a process with many
// other open connections to the p50 in a process without them, in alternating short turns.
func (b *bench) measureConnections(ctx context.Context, c *contender) error {
	result := &connectionCost{Connections: b.size.connections}
	b.figures[c].Connections = result
	return b.withInstance(ctx, c, "alone", func(alone *instance) error {
		return b.withInstance(ctx, c, "crowded", func(crowded *instance) error {
			before, _, err := crowded.process.memory()
			if err != nil {
				return err
			}
			others, err := openConnections(ctx, crowded.socket, b.size.connections)
			defer closeAll(others)
			if err != nil {
				return err
			}
			if result.Time, err = b.compareP50(ctx, crowded, alone, 1); err != nil {
				return err
			}
			after, _, err := crowded.process.memory()
			result.PerConnection = float64(after-before) / float64(b.size.connections) / (1 << 10)
			return err
		})
	})
}

// largeMessageConnections is the number of connections that carry a large message at once.
const largeMessageConnections = 16

// measureLargeMessages measures the peak memory that a process adds while a large answer
// passes over each of several connections. The result is per connection and includes the
// memory of an idle connection.
func (b *bench) measureLargeMessages(ctx context.Context, c *contender) error {
	b.figures[c].LargeMessages = map[string]spread{}
	for _, size := range []int{largeAnswer, 2 * largeAnswer} {
		var each []float64
		for range b.size.passes {
			err := b.withInstance(ctx, c, "passing", func(i *instance) error {
				before, _, err := i.process.memory()
				if err != nil {
					return err
				}
				clients, err := openConnections(ctx, i.socket, largeMessageConnections)
				defer closeAll(clients)
				if err != nil {
					return err
				}
				if err := i.process.resetPeak(); err != nil {
					return err
				}
				if _, err := drive(ctx, clients, []step{listStep(size)}, largeMessageConnections, func(made int, _ time.Duration) bool { return made < 2 }); err != nil {
					return err
				}
				_, peak, err := i.process.memory()
				each = append(each, mebibytes(peak-before)/largeMessageConnections)
				return err
			})
			if err != nil {
				return err
			}
		}
		b.figures[c].LargeMessages[fmt.Sprintf("%d MiB", size>>20)] = spreadOf(each)
	}
	return nil
}

// openConnections opens connections and makes one call on each of them.
func openConnections(ctx context.Context, socket string, count int) (clients []*grpc.ClientConn, err error) {
	for range count {
		client, err := proxytest.Dial(socket)
		if err != nil {
			return clients, err
		}
		clients = append(clients, client)
		if _, err := versionStep.call(ctx, client); err != nil {
			return clients, err
		}
	}
	return clients, nil
}

func closeAll(clients []*grpc.ClientConn) {
	for _, client := range clients {
		_ = client.Close()
	}
}
