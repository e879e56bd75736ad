package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	grpcproxy "github.com/mwitkow/grpc-proxy/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// relayBuffer is the buffer size of the relay, in bytes.
const relayBuffer = 64 << 10

// relay copies the bytes of each connection in both directions. It is the minimum cost of
// any proxy between a client and the runtime.
func relay(listener net.Listener, runtime string) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			server, err := net.Dial("unix", runtime)
			if err != nil {
				_ = client.Close()
				return
			}
			go copyBytes(server, client)
			copyBytes(client, server)
		}()
	}
}

// copyBytes copies until one side closes, and closes both sides.
func copyBytes(target, source net.Conn) {
	defer func() { _ = errors.Join(target.Close(), source.Close()) }()
	// The wrappers hide ReadFrom and WriteTo, which have no fast path for unix sockets.
	_, _ = io.CopyBuffer(struct{ io.Writer }{target}, struct{ io.Reader }{source}, make([]byte, relayBuffer))
}

// grpcProxy serves grpc-proxy's unmodified TransparentHandler with its own director. Server
// and client have no message size limits: grpc-go's 4 MiB would reject answers that
// kubelet accepts.
func grpcProxy(listener net.Listener, runtime string) error {
	const unlimited = 1 << 30
	connection, err := grpc.NewClient("unix:"+runtime,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(unlimited), grpc.MaxCallSendMsgSize(unlimited)))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	return grpcproxy.NewProxy(connection, grpc.MaxRecvMsgSize(unlimited), grpc.MaxSendMsgSize(unlimited)).Serve(listener)
}

// namingRuntime is the role of a runtime that keeps names as containerd does.
const namingRuntime = "naming-runtime"

// serveRole runs this program as one of the contenders, or as their runtime, until ctx is
// done.
func serveRole(ctx context.Context, arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("usage: contender ROLE SOCKET BACKEND")
	}
	role, socket, behind := arguments[0], arguments[1], arguments[2]
	if role == "runtime" || role == namingRuntime {
		return serveRuntime(ctx, socket, behind, role == namingRuntime)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	switch role {
	case "relay":
		err = relay(listener, behind)
	case "grpc-proxy":
		err = grpcProxy(listener, behind)
	default:
		return fmt.Errorf("unknown role %q", role)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}
