package foreign

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// metadataOfCalls has repeated keys, binary values and empty values.
var metadataOfCalls = [][2]string{
	{"x-one", "1"}, {"x-many", "a"}, {"x-many", "b"}, {"x-many", "a"}, {"x-empty", ""},
	{"x-binary-bin", base64.StdEncoding.EncodeToString([]byte{0, 1, 2, 255, ','})},
	{"x-binary-bin", base64.StdEncoding.EncodeToString([]byte("second"))},
	{"t-one", "1"}, {"t-many", "a"}, {"t-many", "b"},
	{"t-binary-bin", base64.StdEncoding.EncodeToString([]byte{255, 0})},
}

// plainCalls are calls of methods that the shim forwards unchanged.
func plainCalls() []call {
	return []call{
		{Name: "unary, empty", Method: methodEcho, Requests: [][]byte{{}}},
		{Name: "unary", Method: methodEcho, Requests: [][]byte{filler(1000)}, Metadata: metadataOfCalls},
		{Name: "unary, error", Method: methodUnary, Requests: [][]byte{[]byte("fail")}, Metadata: metadataOfCalls},
		{Name: "unary, unknown method", Method: "/foreign.Peer/Unknown", Requests: [][]byte{{}}},
		{Name: "client stream", Method: methodCount, Kind: "client", Requests: [][]byte{filler(1000)}, Repeat: 100, Metadata: metadataOfCalls},
		{Name: "client stream, empty", Method: methodCount, Kind: "client"},
		{Name: "server stream", Method: methodAnswer, Kind: "server", Requests: [][]byte{[]byte("many")}, Metadata: metadataOfCalls},
		{Name: "server stream, empty", Method: methodAnswer, Kind: "server", Requests: [][]byte{[]byte("none")}, Metadata: metadataOfCalls},
		{Name: "server stream, error at the end", Method: methodAnswer, Kind: "server", Requests: [][]byte{[]byte("fail")}, Metadata: metadataOfCalls},
		{Name: "server stream, error at once", Method: methodAnswer, Kind: "server", Requests: [][]byte{[]byte("refuse")}},
		{Name: "both streams", Method: methodChat, Kind: "bidi", Requests: [][]byte{filler(100), {}, filler(3000)}, Repeat: 20, Metadata: metadataOfCalls},
		{Name: "Version", Method: methodVersion, Requests: [][]byte{{}}, Metadata: metadataOfCalls},
		{Name: "ExecSync", Method: methodExec, Requests: [][]byte{execRequest("small")}, Metadata: metadataOfCalls},
	}
}

// shimCalls are calls that the shim handles itself, or whose answers it rewrites.
func shimCalls() []call {
	return []call{
		{Name: "PullImage", Method: methodPull, Requests: [][]byte{pullRequest(imageName)}, Metadata: metadataOfCalls},
		{Name: "ImageStatus by name", Method: methodStatus, Requests: [][]byte{statusRequest(imageName)}, Metadata: metadataOfCalls},
		{Name: "ImageStatus by ID", Method: methodStatus, Requests: [][]byte{statusRequest(imageID)}, Metadata: metadataOfCalls},
		{Name: "ImageStatus, absent", Method: methodStatus, Requests: [][]byte{statusRequest("docker.io/library/absent:1")}},
		{Name: "ListImages", Method: methodList, Requests: [][]byte{listRequest("small")}, Metadata: metadataOfCalls},
		{Name: "ContainerStatus", Method: methodContainer, Requests: [][]byte{containerRequest(containerSmall)}, Metadata: metadataOfCalls},
		{Name: "ContainerStatus, 200 KB", Method: methodContainer, Requests: [][]byte{containerRequest(containerMedium)}},
		{Name: "ContainerStatus, absent", Method: methodContainer, Requests: [][]byte{containerRequest(containerAbsent)}, Metadata: metadataOfCalls},
		{Name: "GetContainerEvents", Method: methodEvents, Kind: "server", Requests: [][]byte{{}}, Metadata: metadataOfCalls},
	}
}

// largeCalls are calls with requests or answers of 5 MB.
func largeCalls() []call {
	return []call{
		{Name: "unary, 5 MB both ways", Method: methodEcho, Requests: [][]byte{filler(5 << 20)}},
		{Name: "unary, 5 MB", Method: methodUnary, Requests: [][]byte{[]byte("large")}},
		{Name: "server stream, 5 MB twice", Method: methodAnswer, Kind: "server", Requests: [][]byte{[]byte("large")}},
		{Name: "ExecSync, 5 MB", Method: methodExec, Requests: [][]byte{execRequest("large")}},
		{Name: "ListImages, 5 MB", Method: methodList, Requests: [][]byte{listRequest("large")}},
		{Name: "ContainerStatus, 5 MB", Method: methodContainer, Requests: [][]byte{containerRequest(containerLarge)}},
	}
}

// deadline is the deadline of the calls that have one, in milliseconds.
const deadline = 100

// endedCalls are calls that the client cancels or that exceed their deadline.
func endedCalls() []call {
	hang := [][]byte{[]byte("hang")}
	pull, container := [][]byte{pullRequest(hangName)}, [][]byte{containerRequest(containerHang)}
	return []call{
		{Name: "unary, cancelled", Method: methodUnary, Requests: hang, Cancel: 100},
		{Name: "server stream, cancelled", Method: methodAnswer, Kind: "server", Requests: hang, CancelAfter: 1},
		{Name: "both streams, cancelled", Method: methodAnswer, Kind: "bidi", Requests: hang, CancelAfter: 1},
		{Name: "PullImage, cancelled", Method: methodPull, Requests: pull, Cancel: 100},
		{Name: "ContainerStatus, cancelled", Method: methodContainer, Requests: container, Cancel: 100},
		{Name: "unary, deadline", Method: methodUnary, Requests: hang, Timeout: deadline},
		{Name: "server stream, deadline", Method: methodAnswer, Kind: "server", Requests: hang, Timeout: deadline},
		{Name: "PullImage, deadline", Method: methodPull, Requests: pull, Timeout: deadline},
		{Name: "ContainerStatus, deadline", Method: methodContainer, Requests: container, Timeout: deadline},
	}
}

// mixed returns n random calls in an order that depends only on the seed.
func mixed(n int, seed uint64, from ...call) []call {
	random := rand.New(rand.NewPCG(seed, 0))
	calls := make([]call, n)
	for i := range calls {
		calls[i] = from[random.IntN(len(from))]
	}
	return calls
}

// onEveryPath runs a test with each client and runtime: directly, and then through both
// engines. The results must be equal.
func onEveryPath(t *testing.T, runtimes []string, s script, make func(t *testing.T, r *route, client string) []result) {
	t.Helper()
	for _, library := range runtimes {
		for _, client := range clients {
			t.Run(client+" to "+library, func(t *testing.T) {
				t.Parallel()
				want := make(t, newRoute(t, library, direct, s), client)
				if t.Failed() {
					return
				}
				for _, engine := range engines {
					t.Run(engine, func(t *testing.T) {
						wantSame(t, make(t, newRoute(t, library, engine, s), client), want)
					})
				}
			})
		}
	}
}

// TestCalls makes calls of all kinds, first one at a time, then 10 and 100 at once.
func TestCalls(t *testing.T) {
	onEveryPath(t, runtimes, script{}, func(t *testing.T, r *route, client string) []result {
		all := slices.Concat(plainCalls(), shimCalls())
		results := plan{Socket: r.socket, Groups: []group{
			{Name: "one at a time", Calls: slices.Concat(all, largeCalls(), endedCalls())},
			{Name: "10 at once", Concurrency: 10, Calls: mixed(50, 1, all...)},
			{Name: "100 at once", Concurrency: 100, Calls: mixed(150, 2, slices.Concat(all, endedCalls())...)},
		}}.make(t, client)
		r.wantIdle(t)
		return results
	})
}

// TestMixedCallsUnderLoad makes 2000 calls of all kinds.
func TestMixedCallsUnderLoad(t *testing.T) {
	onEveryPath(t, runtimes, script{}, func(t *testing.T, r *route, client string) []result {
		calls := mixed(2000, 3, slices.Concat(plainCalls(), shimCalls(), endedCalls())...)
		results := plan{Socket: r.socket, Groups: []group{{Name: "mixed", Concurrency: 20, Calls: calls}}}.make(t, client)
		r.wantIdle(t)
		return results
	})
}

// TestCompression compresses requests and answers with the algorithms of the runtime's library.
func TestCompression(t *testing.T) {
	for _, test := range []struct {
		requests, answers string
		runtimes          []string
	}{
		{"gzip", "gzip", runtimes}, // grpc-js does not compress answers
		{"deflate", "", []string{"grpcio", "grpc-js"}},
		{"", "deflate", []string{"grpcio"}},
		{"", "gzip", []string{"grpc-go", "grpcio"}},
	} {
		t.Run(fmt.Sprintf("requests %s, answers %s", test.requests, test.answers), func(t *testing.T) {
			onEveryPath(t, test.runtimes, script{Compression: test.answers}, func(t *testing.T, r *route, client string) []result {
				calls := slices.Concat(plainCalls(), shimCalls())
				if client == "grpc-js" { // on an error it drops messages that it has not decompressed yet
					calls = slices.DeleteFunc(calls, func(c call) bool { return c.Name == "server stream, error at the end" })
				}
				if test.requests == "" {
					calls = append(calls, largeCalls()[4]) // a call whose answer is rewritten
				}
				return plan{Socket: r.socket, Compression: test.requests, Groups: []group{{Calls: calls}}}.make(t, client)
			})
		})
	}
}
