package testbed

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criclient "k8s.io/cri-client/pkg"

	internalapi "k8s.io/cri-api/pkg/apis"
)

// clientTimeout is the deadline of every call except PullImage; it is kubelet's default.
const clientTimeout = 2 * time.Minute

// Client is a CRI client of one socket. Images and Runtime are kubelet's own client code;
// Connection is for calls that kubelet does not make.
type Client struct {
	Images     internalapi.ImageManagerService
	Runtime    internalapi.RuntimeService
	Connection *grpc.ClientConn
}

// Dial connects to both CRI services of a socket. Like kubelet's client, it fails if
// they don't answer.
func Dial(ctx context.Context, socket string) (*Client, error) {
	endpoint := "unix://" + socket
	runtime, err := criclient.NewRemoteRuntimeServiceBuilder().
		WithEndpoint(endpoint).WithConnectionTimeout(clientTimeout).Build(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the runtime service of %s: %w", socket, err)
	}
	images, err := criclient.NewRemoteImageServiceBuilder().
		WithEndpoint(endpoint).WithConnectionTimeout(clientTimeout).Build(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the image service of %s: %w", socket, err), runtime.Close(ctx))
	}
	connection, err := dial(socket)
	if err != nil {
		return nil, errors.Join(err, runtime.Close(ctx), images.Close(ctx))
	}
	return &Client{Images: images, Runtime: runtime, Connection: connection}, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	ctx := context.Background() // Close does not block
	return errors.Join(c.Images.Close(ctx), c.Runtime.Close(ctx), c.Connection.Close())
}

// dial connects to a unix socket without waiting for an answer.
func dial(socket string) (*grpc.ClientConn, error) {
	connection, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", socket, err)
	}
	return connection, nil
}

// checkListening returns an error if no server accepts connections on a unix socket.
func checkListening(socket string) error {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return connection.Close()
}
