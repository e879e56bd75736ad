// Package proxy is a transparent gRPC reverse proxy between two unix sockets.
//
// It knows gRPC and nothing of what the messages mean: every method of every
// service is forwarded as opaque bytes, with its metadata, status details,
// deadline and cancellation. Methods that an [Interceptors] names are handed,
// as raw bytes, to the function behind the name instead:
//
//	listener, err := proxy.Listen(ctx, "/run/shim.sock", "/run/containerd/containerd.sock")
//	...
//	server, err := proxy.New(proxy.Options{
//		Runtime: "/run/containerd/containerd.sock",
//		Interceptors: proxy.Interceptors{Unary: map[string]proxy.Unary{
//			"/runtime.v1.ImageService/PullImage": func(ctx context.Context, request []byte, invoke proxy.Invoke) ([]byte, error) {
//				return invoke(ctx, "/runtime.v1.ImageService/PullImage", request)
//			},
//		}},
//	})
//	...
//	err = server.Serve(listener) // until Shutdown or Close
//
// One HTTP/2 connection to the runtime carries the calls of all clients. What
// belongs to a connection and not to a call is therefore the shim's own towards
// the runtime: the user agent and the settings of HTTP/2.
package proxy
