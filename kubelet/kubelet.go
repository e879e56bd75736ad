// Package kubelet observes the running kubelet of the node through the shim's admin socket.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"image-cri-shim/admin"
	"image-cri-shim/explain"
)

// interval is the time between two requests to the shim.
const interval = 200 * time.Millisecond

// Connected returns the kubelets that are connected to the shim. adminSocket is the shim's
// admin socket.
func Connected(ctx context.Context, adminSocket string) ([]explain.ShimClient, error) {
	var status explain.ShimStatus
	if err := admin.Get(ctx, adminSocket, admin.AboutPath, nil, &status); err != nil {
		return nil, err
	}
	if status.Clients == nil {
		return nil, admin.ErrUnknown
	}
	return slices.DeleteFunc(status.Clients, func(c explain.ShimClient) bool { return !c.IsKubelet() }), nil
}

// Await waits until a kubelet that is not among the former ones has called the shim, and
// returns it. When ctx ends first, the error is what was missing.
func Await(ctx context.Context, adminSocket string, former []explain.ShimClient) (explain.ShimClient, error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	problem := errNotConnected
	for {
		now, err := Connected(ctx, adminSocket)
		if err == nil {
			problem = errNotConnected
		} else if ctx.Err() == nil {
			problem = err
		}
		for _, client := range now {
			switch {
			case slices.ContainsFunc(former, func(f explain.ShimClient) bool { return f.Process == client.Process }):
			case client.Calls > 0:
				return client, nil
			default:
				problem = fmt.Errorf("%s (process %d) connected to the shim, but none of its calls succeeded", client.Name, client.Process)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return explain.ShimClient{}, problem
		}
	}
}

var errNotConnected = errors.New("kubelet did not connect to the shim")
