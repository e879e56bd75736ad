package foreign

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestH2spec requires that each HTTP/2 conformance test that the runtime passes also passes
// through the shim. The shim may pass more tests than the runtime.
func TestH2spec(t *testing.T) {
	h2spec := needTool(t, "h2spec")
	for _, library := range []string{"grpc-go", "grpc-js"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			paths := paths[:2] // without the grpc engine, whose server is grpc-go's for any runtime
			addresses := make([]string, len(paths))
			verdicts := make([]map[specTest]string, len(paths))
			var running sync.WaitGroup
			for i, path := range paths {
				addresses[i] = bridge(t, newRoute(t, library, path, script{}).socket)
				running.Go(func() { verdicts[i] = runH2spec(t, h2spec, addresses[i]) }) // it waits most of the time
			}
			running.Wait()
			for i, path := range paths[1:] {
				if got, want := len(verdicts[i+1]), len(verdicts[0]); got != want || got < 100 {
					t.Errorf("%s: %d verdicts, directly %d", path, got, want)
				}
				for test, problem := range verdicts[i+1] {
					if problem != "" && verdicts[0][test] == "" && failsRepeatedly(t, h2spec, addresses[i+1], test) {
						t.Errorf("%s: %s: %s\n%s", path, test.section, test.name, problem)
					}
				}
			}
		})
	}
}

// specTest identifies a test of h2spec.
type specTest struct{ section, name string }

// failsRepeatedly repeats a failed test. Some tests depend on the order of two frames.
func failsRepeatedly(t *testing.T, h2spec, address string, test specTest) bool {
	for range 3 {
		if runH2spec(t, h2spec, address, test.section)[test] == "" {
			return false
		}
	}
	return true
}

// runH2spec runs h2spec and returns the problem found by each test, or "" if it passed.
func runH2spec(t *testing.T, h2spec, address string, sections ...string) map[specTest]string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Error(err)
		return nil
	}
	file := filepath.Join(t.TempDir(), "report")
	arguments := append([]string{"-h", host, "-p", port, "-o", "1", "-P", methodVersion, "-j", file}, sections...)
	if _, _, err := run(testContext(t), h2spec, arguments...); err != nil {
		t.Error(err)
		return nil
	}
	var report struct {
		Tests []struct {
			Section string `xml:"package,attr"`
			Name    string `xml:"classname,attr"`
			Error   string `xml:"error"`
			Failure string `xml:"failure"`
		} `xml:"testsuite>testcase"`
	}
	content, err := os.ReadFile(file)
	content = bytes.ReplaceAll(content, []byte{0}, []byte(" ")) // XML does not allow NUL, which some test names contain
	if err := errors.Join(err, xml.Unmarshal(content, &report)); err != nil {
		t.Error(err)
		return nil
	}
	verdicts := make(map[specTest]string)
	for _, test := range report.Tests {
		verdicts[specTest{test.Section, test.Name}] = test.Error + test.Failure
	}
	return verdicts
}

// bridge forwards connections from a TCP port to a unix socket, and returns the port's address.
func bridge(t *testing.T, socket string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			server, err := net.DialTimeout("unix", socket, time.Second)
			if err != nil {
				_ = client.Close()
				continue
			}
			running.Go(func() { join(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// join copies between two connections until one of them closes.
func join(client, server net.Conn) {
	var copies sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		copies.Go(func() {
			_, _ = io.Copy(pair[1], pair[0]) // ends when either connection closes
			_ = client.Close()
			_ = server.Close()
		})
	}
	copies.Wait()
}
