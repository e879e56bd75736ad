// Package proxy is a transparent gRPC reverse proxy between two unix sockets.
//
// It knows gRPC and nothing of what the messages mean: every method of every
// service is forwarded as opaque bytes, with its metadata, status details,
// deadline and cancellation. Methods that an [intercept.Interceptors] names are handed,
// as raw bytes, to the function behind the name instead:
//
//	listener, err := unixsocket.Listen(ctx, "/run/shim.sock", "/run/containerd/containerd.sock")
//	...
//	server, err := proxy.New(proxy.Options{
//		Runtime: "/run/containerd/containerd.sock",
//		Interceptors: intercept.Interceptors{Unary: map[string]intercept.Unary{
//			"/runtime.v1.ImageService/PullImage": func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
//				return invoke(ctx, "/runtime.v1.ImageService/PullImage", request)
//			},
//		}},
//	})
//	...
//	err = server.Serve(listener) // until Shutdown or Close
//
// There are two engines behind this, which [Options] choose between. The frame engine
// joins each client's connection with one of its own to the runtime, passes HTTP/2
// frames on as they come (package frames) and takes out the calls that are intercepted:
// settings, pings, user agents and whatever else belongs to a connection are the
// client's own. The grpc engine is grpc-go's server and client, and one connection to
// the runtime carries the calls of all clients: simpler, slower, and what the other
// one is compared with.
package proxy
