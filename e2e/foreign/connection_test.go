package foreign

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
)

var (
	slowPull = call{Name: "PullImage, one second", Method: methodPull, Requests: [][]byte{pullRequest(slowName)}}
	version  = call{Name: "Version", Method: methodVersion, Requests: [][]byte{{}}}
)

// TestGoAway uses a runtime that sends GOAWAY in the middle of each pull: its connections end
// after half a second, and a pull takes a second. Pulls and later calls must succeed.
func TestGoAway(t *testing.T) {
	options := map[string]any{"grpc.max_connection_age_ms": 500, "grpc.max_connection_age_grace_ms": 30_000}
	onEveryPath(t, runtimes, script{Options: options}, func(t *testing.T, r *route, client string) []result {
		pulls := group{Concurrency: 3, Calls: slices.Repeat([]call{slowPull}, 3)}
		results := plan{Socket: r.socket, Groups: []group{
			pulls, {Calls: append([]call{version}, shimCalls()...)},
			pulls, {Calls: shimCalls()},
		}}.make(t, client)
		r.wantIdle(t)
		for _, result := range results {
			if result.Code == codes.Unavailable {
				t.Error(result)
			}
		}
		return results
	})
}

// pinging returns the channel arguments of a client that sends pings while it has calls.
func pinging(milliseconds, timeout int) map[string]any {
	return map[string]any{
		"grpc.keepalive_time_ms": milliseconds, "grpc.keepalive_timeout_ms": timeout,
		"grpc.http2.max_pings_without_data": 0, "grpc.http2.min_time_between_pings_ms": milliseconds,
	}
}

// TestPings uses a client that sends pings while it has calls, and runtimes that accept this
// rate of pings, but reject pings on a connection without calls.
func TestPings(t *testing.T) {
	onEveryPath(t, runtimes, script{Options: map[string]any{pingInterval: 50}}, func(t *testing.T, r *route, client string) []result {
		results := plan{Socket: r.socket, Options: pinging(100, 5000), Groups: []group{
			{Calls: []call{slowPull, version, slowPull}},
			{Concurrency: 2, Calls: []call{slowPull, version}},
			{Calls: shimCalls()},
		}}.make(t, client)
		for _, result := range results {
			if result.Code == codes.Unavailable {
				t.Error(result)
			}
		}
		return results
	})
}

// TestHungRuntime freezes the runtime. A client's keepalive must detect this, also after a
// call that the shim has answered itself. The grpc engine answers pings itself.
func TestHungRuntime(t *testing.T) {
	for _, library := range []string{"grpcio", "grpc-js"} {
		for _, client := range clients {
			for _, path := range []string{direct, framesEngine} {
				t.Run(client+" to "+library+" "+path, func(t *testing.T) {
					t.Parallel()
					r := newRoute(t, library, path, script{Options: map[string]any{pingInterval: 50}})
					results := plan{Socket: r.socket, Options: pinging(200, 500), Groups: []group{{Calls: []call{
						{Name: "PullImage", Method: methodPull, Requests: [][]byte{pullRequest(imageName)}},
						{Name: "call without an answer", Method: methodFreeze, Requests: [][]byte{{}}, Timeout: 10_000},
					}}}}.make(t, client)
					if results[0].Code != codes.OK {
						t.Error(results[0])
					}
					if results[1].Code != codes.Unavailable {
						t.Errorf("%v, want Unavailable", results[1])
					}
				})
			}
		}
	}
}
