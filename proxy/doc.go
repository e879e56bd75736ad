// Package proxy is a transparent gRPC reverse proxy between two unix sockets.
//
// It understands gRPC but not the messages. Every method of every service is forwarded as
// opaque bytes, with its metadata, status details, deadline and cancellation. Methods in an
// [intercept.Interceptors] are passed to its functions instead, as raw bytes. For example, this
// server intercepts PullImage and forwards it unchanged:
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
// [Options.Engine] selects one of two engines. The frame engine opens one connection to the
// runtime for each client connection, relays HTTP/2 frames between the two as they arrive
// (package frames) and intercepts calls in between. Settings, pings, user agent and all other
// properties of the connection are those of the client. The grpc engine uses grpc-go's server
// and client, and one connection to the runtime carries the calls of all clients. It is simpler
// and slower, and the tests compare the frame engine with it.
package proxy
