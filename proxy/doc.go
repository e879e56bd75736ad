// Package proxy is a transparent gRPC reverse proxy between two unix sockets.
//
// It knows gRPC but not the messages: every method of every service is forwarded as opaque
// bytes, with its metadata, status details, deadline and cancellation. The methods of an
// [intercept.Interceptors] go to its functions instead, as raw bytes:
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
// [Options] choose between two engines. The frame engine joins each client's connection with
// one of its own to the runtime, passes HTTP/2 frames on as they come (package frames) and
// intercepts calls between them: settings, pings, user agents and everything else of a
// connection are the client's own. The grpc engine is grpc-go's server and client, and one
// connection to the runtime carries the calls of all clients. It is simpler and slower, and
// the tests compare the frame engine with it.
package proxy
