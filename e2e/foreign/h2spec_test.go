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

// TestH2spec requires that what a runtime does right by HTTP/2's rules is right through
// the shim as well. The shim may do more right than the runtime.
func TestH2spec(t *testing.T) {
	h2spec := needTool(t, "h2spec")
	for _, library := range []string{"grpc-go", "grpc-js"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			paths := paths[:2] // towards clients the grpc engine is grpc-go's server itself, whatever the runtime is
			addresses := make([]string, len(paths))
			verdicts := make([]map[specTest]string, len(paths))
			var running sync.WaitGroup
			for i, path := range paths {
				addresses[i] = bridge(t, newRoute(t, library, path, script{}).socket)
				running.Go(func() { verdicts[i] = runH2spec(t, h2spec, addresses[i]) }) // mostly it waits
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

// failsRepeatedly repeats a test that has failed: a few depend on the order of two frames.
func failsRepeatedly(t *testing.T, h2spec, address string, test specTest) bool {
	for range 3 {
		if runH2spec(t, h2spec, address, test.section)[test] == "" {
			return false
		}
	}
	return true
}

// runH2spec returns the problem that each of h2spec's tests has found, "" if none.
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
	content = bytes.ReplaceAll(content, []byte{0}, []byte(" ")) // some names have characters that XML has not
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

// bridge passes connections to a TCP port on to a unix socket, and returns its address.
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

// join copies between two connections until one of them ends.
func join(client, server net.Conn) {
	var copies sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		copies.Go(func() {
			_, _ = io.Copy(pair[1], pair[0]) // it ends with either connection
			_ = client.Close()
			_ = server.Close()
		})
	}
	copies.Wait()
}
