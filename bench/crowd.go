package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"image-cri-shim/proxy/proxytest"
)

// crowd is what a process is like while other clients hold connections.
type crowd struct {
	Connections   int     `json:"connections"`
	Time          spread  `json:"timeRatio"`                // p50 of Version with them to without them
	Direct        spread  `json:"directTimeRatio"`          // the same at the runtime itself
	PerConnection float64 `json:"residentKiBPerConnection"` // what each of them adds at most
}

// measureCrowd compares Version one at a time with and without many other open
// connections, in turns with the same at the runtime itself.
func (b *bench) measureCrowd(ctx context.Context, c *contender) error {
	direct := b.instances[b.contenders[0]]
	result := &crowd{Connections: b.size.connections}
	var times, directTimes []float64
	err := b.fresh(ctx, c, func(i *instance) error {
		for range b.size.passes {
			ratio, _, err := b.crowded(ctx, direct)
			if err != nil {
				return err
			}
			directTimes = append(directTimes, ratio)
			ratio, grown, err := b.crowded(ctx, i)
			if err != nil {
				return err
			}
			times = append(times, ratio)
			result.PerConnection = max(result.PerConnection, float64(grown)/float64(b.size.connections)/(1<<10))
		}
		return nil
	})
	result.Time, result.Direct = spreadOf(times), spreadOf(directTimes)
	b.figures[c].Open = result
	return err
}

// crowded returns the p50 of Version with many connections to that without them,
// and by how many bytes the process's resident memory grew.
func (b *bench) crowded(ctx context.Context, i *instance) (ratio float64, grown int64, err error) {
	p50 := func() (float64, error) {
		l, err := closedLoop(ctx, i.clients, []step{versionStep}, 1, 2*b.size.slice)
		return microseconds(percentile(l.latencies, 50)), err
	}
	resident := func() (int64, error) {
		if i.process == nil {
			return 0, nil
		}
		now, _, err := i.process.memory()
		return now, err
	}
	alone, err := p50()
	if err != nil {
		return 0, 0, err
	}
	before, err := resident()
	if err != nil {
		return 0, 0, err
	}
	others, err := openConnections(ctx, i.socket, b.size.connections)
	defer closeAll(others)
	if err != nil {
		return 0, 0, err
	}
	among, err := p50()
	if err != nil {
		return 0, 0, err
	}
	after, err := resident()
	return among / alone, after - before, err
}

// passing is over how many connections large messages pass at once.
const passing = 16

// measurePassing measures how much memory a process needs at most while a large
// answer passes over each of some connections: for each connection, what these
// take without traffic included.
func (b *bench) measurePassing(ctx context.Context, c *contender) error {
	b.figures[c].Passing = map[string]spread{}
	for _, size := range []int{big, 2 * big} {
		var each []float64
		for range b.size.passes {
			err := b.fresh(ctx, c, func(i *instance) error {
				before, _, err := i.process.memory()
				if err != nil {
					return err
				}
				clients, err := openConnections(ctx, i.socket, passing)
				defer closeAll(clients)
				if err != nil {
					return err
				}
				if err := i.process.resetPeak(); err != nil {
					return err
				}
				if _, err := drive(ctx, clients, []step{listStep(size)}, passing, func(made int, _ time.Duration) bool { return made < 2 }); err != nil {
					return err
				}
				_, peak, err := i.process.memory()
				each = append(each, mebibytes(peak-before)/passing)
				return err
			})
			if err != nil {
				return err
			}
		}
		b.figures[c].Passing[fmt.Sprintf("%d MiB", size>>20)] = spreadOf(each)
	}
	return nil
}

// openConnections opens connections on each of which one call is answered.
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
