package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestMetricsCountWhatHappens makes calls of each kind and requires that all are counted. The
// ledger keeps the names: if the runtime did, it would answer some calls without a decision.
func TestMetricsCountWhatHappens(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n, httpAddress := newMetricsNode(t, runtime, privateConfiguration()+namesInLedger)
		before := settled(t, httpAddress)
		versions := runtimeapi.NewRuntimeServiceClient(n.through.Connection)
		for range 3 {
			if _, err := versions.Version(testContext(t), &runtimeapi.VersionRequest{Version: "v1"}); err != nil {
				t.Fatal(err)
			}
		}
		n.pull(t, n.through, "nginx:1.25", nil)
		n.pull(t, n.through, "nginx:1.25", nil)
		n.pull(t, n.through, "original:1", callerLogin)
		if _, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "no-such:1"}, callerLogin, nil); err == nil {
			t.Fatal("pulled an image that no registry has")
		}
		n.status(t, n.through, "nginx:1.25")
		n.status(t, n.through, "no-such:1")
		n.remove(t, n.through, "original:1")
		err := n.through.Connection.Invoke(testContext(t), "/invented.Service/Method", &runtimeapi.VersionRequest{}, &runtimeapi.VersionResponse{})
		if status.Code(err) != codes.Unimplemented {
			t.Fatalf("unknown method: %v", err)
		}

		private := "registry=" + shared.private.Address()
		images, version := "service=runtime.v1.ImageService", "method=Version"
		now := wantGrowth(t, httpAddress, before,
			grows(3, "calls_total", "service=runtime.v1.RuntimeService", version, "code=OK"),
			grows(3, "call_duration_seconds", version),
			grows(3*(5+4), "request_bytes_total", version), // including gRPC's message prefix
			grows(3, "calls_total", images, "method=PullImage", "code=OK"),
			grows(1, "calls_total", images, "method=PullImage", "code="+pullCode(t, n)),
			grows(2, "calls_total", images, "method=ImageStatus", "code=OK"),
			grows(1, "calls_total", "service=other", "method=other", "code=Unimplemented"),
			grows(2, "image_decisions_total", "method=PullImage", "outcome=registry", private),
			grows(1, "image_decisions_total", "method=PullImage", "outcome=absent", "registry="),
			grows(1, "image_decisions_total", "method=PullImage", "outcome=failed", "registry="),
			grows(1, "image_decisions_total", "method=ImageStatus", "outcome=registry", private),
			grows(1, "image_decisions_total", "method=ImageStatus", "outcome=none", "registry="),
			grows(1, "image_decisions_total", "method=RemoveImage", "outcome=removed"),
			grows(1, "lookups_total", private, "result=found"),
			grows(2, "lookups_total", private, "result=absent"),
			grows(3, "lookup_duration_seconds", private),
			grows(1, "cache_hits_total", private),
			grows(3, "cache_misses_total", private),
			grows(3, "cache_entries", private),
		)
		if got := now.value("response_bytes_total", version) - before.value("response_bytes_total", version); got < 3*5 {
			t.Errorf("%v bytes of responses to Version", got)
		}
		for name, want := range map[string]float64{
			"runtime_up": 1, "registry_circuit_open": 0, "config_last_reload_successful": 1, "registry_connections": 1, "build_info": 1,
		} {
			if got := now.value(name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if got := now.value("ledger_names"); got == 0 {
			t.Error("the ledger is empty")
		}
		for _, name := range []string{"start_time_seconds", "config_last_reload_success_timestamp_seconds"} {
			if age := time.Since(time.UnixMilli(int64(1000 * now.value(name)))); age < 0 || age > time.Hour {
				t.Errorf("%s is %v old", name, age)
			}
		}
	})
}

// pullCode returns the code with which the runtime fails a pull of an unknown image.
func pullCode(t *testing.T, n *node) string {
	t.Helper()
	_, err := n.direct.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: "no-such:1"}, callerLogin, nil)
	return status.Code(err).String()
}

// TestMetricsAreBounded calls thousands of methods that do not exist.
func TestMetricsAreBounded(t *testing.T) {
	n, httpAddress := newMetricsNode(t, shared.embedded, privateConfiguration())
	before := settled(t, httpAddress)
	const clients, each = 4, 750
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for j := range each {
				method := fmt.Sprintf("/invented.Service%d/Method%d", i, j)
				err := n.through.Connection.Invoke(testContext(t), method, &runtimeapi.VersionRequest{}, &runtimeapi.VersionResponse{})
				if status.Code(err) != codes.Unimplemented {
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
	running.Wait()
	after := wantGrowth(t, httpAddress, before, grows(clients*each, "calls_total", "method=other", "code=Unimplemented"))
	if got := after.series() - before.series(); got > 1 {
		t.Errorf("%d new series", got)
	}
}

// TestMetricsOfARegistryThatFails configures a registry that refuses connections.
func TestMetricsOfARegistryThatFails(t *testing.T) {
	const address = "http://127.0.0.1:1" // no process listens there
	n, httpAddress := newMetricsNode(t, shared.embedded, "address: "+address+"\n")
	before := settled(t, httpAddress)
	n.pull(t, n.through, "original:1", callerLogin)
	n.pull(t, n.through, "original:1", callerLogin)
	wantGrowth(t, httpAddress, before,
		grows(2, "image_decisions_total", "method=PullImage", "outcome=fallback", "registry="),
		grows(1, "lookups_total", "registry="+address, "result=connection"),
		grows(1, "lookups_total", "registry="+address, "result=circuit"),
		grows(1, "registry_circuit_open", "registry="+address),
		grows(0, "cache_hits_total"),
	)
}

// TestHealth checks the health of a shim while its runtime goes down and returns, and while
// its configuration file is invalid and then fixed.
func TestHealth(t *testing.T) {
	runtime, err := testbed.StartEmbeddedRuntime(testContext(t), testbed.RuntimeOptions{Folder: filepath.Dir(metricsSocket(t))})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			runtime.Stop()
		}
	})
	n, httpAddress := newMetricsNode(t, runtime, "")
	good := "metrics: " + httpAddress + "\n"
	want := func(code int, lines string) {
		t.Helper()
		eventually(t, func() string {
			got, text := mustGetPage(t, httpAddress, "/readyz")
			wantNoSecret(t, "/readyz", []byte(text))
			if got != code || !matches(text, lines) {
				return fmt.Sprintf("/readyz: %d %s", got, text)
			}
			return ""
		})
		if code, text := mustGetPage(t, httpAddress, "/healthz"); code != http.StatusOK || text != "[+]socket ok\n" {
			t.Errorf("/healthz: %d %s", code, text)
		}
	}
	want(http.StatusOK, "[+]socket ok\n[+]runtime ok\n[+]configuration ok\n")
	runtime.Stop()
	stopped = true
	want(http.StatusServiceUnavailable, "[+]socket ok\n[-]runtime failed: Unavailable: *"+runtime.Socket()+"*\n[+]configuration ok\n")
	if up := newScrape(t, httpAddress).value("runtime_up"); up != 0 {
		t.Errorf("runtime_up is %v", up)
	}
	eventually(t, func() string { // the client may have to reconnect
		_, err := n.through.Runtime.Version(testContext(t), "v1")
		if failed := settled(t, httpAddress).value("calls_total", "method=Version", "code=Unavailable"); status.Code(err) != codes.Unavailable || failed == 0 {
			return fmt.Sprintf("call without the runtime: %v, counted: %v", err, failed)
		}
		return ""
	})
	if err := runtime.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	stopped = false
	want(http.StatusOK, "[+]socket ok\n[+]runtime ok\n[+]configuration ok\n")

	if err := n.shim.Configure(good + "auht: admin:" + privatePassword + "\n"); err != nil {
		t.Fatal(err)
	}
	want(http.StatusServiceUnavailable, "[+]socket ok\n[+]runtime ok\n[-]configuration failed: reload failed, the last good configuration stays in force: *auht: unknown key*\n")
	if good := newScrape(t, httpAddress).value("config_last_reload_successful"); good != 0 {
		t.Errorf("config_last_reload_successful is %v", good)
	}
	if err := n.shim.Configure(good); err != nil {
		t.Fatal(err)
	}
	want(http.StatusOK, "[+]socket ok\n[+]runtime ok\n[+]configuration ok\n")
}

// matches reports whether a text matches a pattern in which * stands for any text within a line.
func matches(text, pattern string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	if !more || !strings.HasPrefix(text, first) {
		return text == pattern
	}
	for at := len(first); at <= len(text); at++ {
		if matches(text[at:], rest) {
			return true
		}
		if at < len(text) && text[at] == '\n' {
			break
		}
	}
	return false
}

// TestHealthBeforeTheRuntime requires that a shim waiting for its runtime is alive but not
// ready.
func TestHealthBeforeTheRuntime(t *testing.T) {
	httpAddress, folder := metricsSocket(t), filepath.Dir(metricsSocket(t))
	file := filepath.Join(folder, "shim.yaml")
	content := fmt.Sprintf("shim: %[1]s/shim.sock\ncri: %[1]s/none.sock\nimage: %[1]s\nmetrics: %s\n", folder, httpAddress)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	shim := exec.CommandContext(ctx, shared.shim, "--file", file)
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = shim.Wait() }()
	eventually(t, func() string {
		code, text, err := getPage(httpAddress, "/readyz")
		if err != nil || code != http.StatusServiceUnavailable || !strings.HasPrefix(text, "[-]socket failed: not served yet: waiting for the runtime") {
			return fmt.Sprintf("/readyz: %d %s %v", code, text, err)
		}
		return ""
	})
	if code, text := mustGetPage(t, httpAddress, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, text)
	}
}

// TestHealthOfARuntimeThatHangs uses a runtime that accepts connections and does not answer.
// The health endpoint answers nevertheless.
func TestHealthOfARuntimeThatHangs(t *testing.T) {
	httpAddress, folder := metricsSocket(t), filepath.Dir(metricsSocket(t))
	hanging, err := net.Listen("unix", filepath.Join(folder, "runtime.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hanging.Close() }()
	shim, err := testbed.StartShim(testContext(t), testbed.ShimOptions{
		Binary: shared.shim, Folder: folder, Runtime: hanging.Addr().String(), Configuration: "force: true\nmetrics: " + httpAddress + "\n" + engine(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shim.Stop(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, func() string {
		code, text, err := getPage(httpAddress, "/readyz")
		if err != nil || code != http.StatusServiceUnavailable || !matches(text, "[+]socket ok\n[-]runtime failed: *\n[+]configuration ok\n") {
			return fmt.Sprintf("/readyz: %d %s %v", code, text, err)
		}
		return ""
	})
	if up := newScrape(t, httpAddress).value("runtime_up"); up != 0 {
		t.Errorf("runtime_up is %v", up)
	}
}

// TestMetricsAddress uses a port that is in use when the shim starts, and is freed later.
func TestMetricsAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, shared.embedded, privateConfiguration()+"reloadInterval: 50ms\nmetrics: "+port+"\n")
	eventually(t, func() string { return n.missingFromLog("address already in use") })
	n.pull(t, n.through, "nginx:1.25", nil) // it serves calls without metrics
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if _, _, err := getPage("127.0.0.1:"+port, "/healthz"); err != nil {
			return err.Error()
		}
		return ""
	})
	if got := settled(t, "127.0.0.1:"+port).value("calls_total", "method=PullImage", "code=OK"); got != 1 {
		t.Errorf("%v pulls were counted, want the one made while the port was in use", got)
	}
}

// missingFromLog returns a problem while the shim's log does not contain a text.
func (n *node) missingFromLog(text string) string {
	log, err := os.ReadFile(n.shim.Log())
	if err != nil || !strings.Contains(string(log), text) {
		return fmt.Sprintf("the log does not contain %q: %v", text, err)
	}
	return ""
}

// TestMetricsThroughASocket requests a page with curl, as an operator does, and requires that
// other users can't open the socket.
func TestMetricsThroughASocket(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	_, httpAddress := newMetricsNode(t, shared.embedded, privateConfiguration())
	output, err := exec.CommandContext(testContext(t), curl, "--silent", "--fail", "--unix-socket", httpAddress, "http://localhost/readyz").CombinedOutput()
	if err != nil || string(output) != "[+]socket ok\n[+]runtime ok\n[+]configuration ok\n" {
		t.Errorf("%v: %s", err, output)
	}
	if info, err := os.Stat(httpAddress); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}
