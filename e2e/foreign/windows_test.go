package foreign

import (
	"fmt"
	"slices"
	"testing"
)

// windowCalls are calls whose answers exceed the windows in the tests.
func windowCalls() []call {
	return slices.Concat(shimCalls(), []call{
		{Name: "server stream", Method: methodAnswer, Kind: "server", Requests: [][]byte{[]byte("many")}},
		{Name: "ExecSync", Method: methodExec, Requests: [][]byte{execRequest("small")}},
		{Name: "unary, 100 KB both ways", Method: methodEcho, Requests: [][]byte{filler(100 << 10)}},
	})
}

// TestDefaultWindows makes concurrent calls with answers of 200 KB. Together they exceed the
// connection's window, which grpc-js leaves at 65,535 bytes.
func TestDefaultWindows(t *testing.T) {
	status := call{Name: "ContainerStatus, 200 KB", Method: methodContainer, Requests: [][]byte{containerRequest(containerMedium)}, Timeout: windowTimeout}
	version := call{Name: "Version", Method: methodVersion, Requests: [][]byte{{}}, Timeout: windowTimeout}
	// The shim relays a call whose answer it rewrites only if no later call is relayed yet.
	calls := append([]call{version}, slices.Repeat([]call{status}, 8)...)
	onEveryPath(t, runtimes, script{}, func(t *testing.T, r *route, client string) []result {
		return plan{Socket: r.socket, Groups: []group{
			{Concurrency: 8, Calls: calls[1:]},
			{Concurrency: 9, Calls: calls},
		}}.make(t, client)
	})
}

// windowTimeout is the time in milliseconds after which a call counts as
// hanging.
const windowTimeout = 5000

// TestSmallWindows uses windows smaller than most answers. C-core sets the stream window with a
// fixed lookahead, and grpc-js with its own argument.
func TestSmallWindows(t *testing.T) {
	for _, size := range []int{1, 255, 16383, 65535} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			onEveryPath(t, []string{"grpc-go", "grpc-js"}, script{}, func(t *testing.T, r *route, client string) []result {
				options := map[string]any{"grpc.http2.bdp_probe": 0, "grpc.http2.lookahead_bytes": size}
				if client == "grpc-js" { // it sends one frame per byte if the window is one byte
					options = map[string]any{"grpc-node.flow_control_window": max(size, 32)}
				}
				calls := windowCalls()
				for i := range calls {
					calls[i].Timeout = windowTimeout
				}
				return plan{Socket: r.socket, Options: options, Groups: []group{
					{Concurrency: 1, Calls: calls},
					{Concurrency: len(calls), Calls: calls},
				}}.make(t, client)
			})
		})
	}
}
