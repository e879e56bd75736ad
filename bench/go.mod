// The benchmark builds the shim and runs it. What it needs beside it, and what
// it compares it with, is no dependency of the shim's own.
module image-cri-shim/bench

go 1.26.0

replace image-cri-shim => ../

require (
	github.com/containerd/containerd/api v1.12.0
	github.com/mwitkow/grpc-proxy v0.0.0-20250813121105-2866842de9a5
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.49.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
	image-cri-shim v0.0.0
	k8s.io/cri-api v0.37.2
)

require (
	github.com/containerd/log v0.1.0 // indirect
	github.com/containerd/ttrpc v1.2.9 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b // indirect
)
