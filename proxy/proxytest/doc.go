// Package proxytest is what tests and benchmarks of the proxy need at its two
// ends: a runtime that answers as it is told, and a client that sends bytes.
//
// Both speak real gRPC over real unix sockets and carry messages as they are,
// so that a test decides about every byte:
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
