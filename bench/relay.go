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

// relayBuffer is what the relay reads at once, in bytes.
const relayBuffer = 64 << 10

// relay copies the bytes of each connection, both ways. Whatever stands between
// a client and the runtime costs at least that.
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

// copyBytes copies until one end closes, and closes both.
func copyBytes(target, source net.Conn) {
	defer func() { _ = errors.Join(target.Close(), source.Close()) }()
	// Without their faster ways, which sockets of this kind don't have.
	_, _ = io.CopyBuffer(struct{ io.Writer }{target}, struct{ io.Reader }{source}, make([]byte, relayBuffer))
}

// grpcProxy serves grpc-proxy's TransparentHandler unchanged, with its own director,
// behind a server and a client whose limits on messages are lifted: grpc-go's
// 4 MiB would refuse what kubelet may receive.
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

// serveRole runs this program as one of its contenders, or as their runtime, until ctx is
// done.
func serveRole(ctx context.Context, arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("a contender wants its role, its socket and what stands behind it")
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
		return fmt.Errorf("no contender %q", role)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}
