// Package proxytest provides the two ends of the proxy to tests and benchmarks:
// a runtime with handlers that the test sets, and a client that sends bytes.
//
// Both use real gRPC over real unix sockets and leave messages unchanged, so
// that a test controls every byte:
//
//	runtime := proxytest.NewRuntime(filepath.Join(folder, "runtime.sock"))
//	runtime.Handle("/test.Service/Echo", func(stream grpc.ServerStream) error {
//		message, err := proxytest.Receive(stream)
//		if err != nil {
//			return err
//		}
//		return proxytest.Send(stream, message)
//	})
//	err := runtime.Start()
//	...
//	defer runtime.Stop()
//	connection, err := proxytest.Dial(runtime.Socket())
//	...
//	response, err := proxytest.Invoke(ctx, connection, "/test.Service/Echo", []byte("hello"))
package proxytest
