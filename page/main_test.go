package page

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout bounds each wait of the tests.
const testTimeout = 20 * time.Second

// healthySources returns the sources of a daemon without problems.
func healthySources() Sources {
	return Sources{
		Host:          func() string { return "node-1.example" },
		Service:       func(context.Context) Service { return Service{} },
		Registries:    func() []Registry { return []Registry{} },
		Ledger:        func(string) ([]Name, int) { return nil, 0 },
		Configuration: func() string { return "socket  /run/shim.sock" },
		Resolve:       func(_ context.Context, image string) Explanation { return Explanation{Note: image} },
	}
}

// serve returns a page and its server, which is closed when the test ends.
func serve(t *testing.T, sources Sources) (*Page, *httptest.Server) {
	t.Helper()
	p := New(sources)
	p.updateInterval = time.Millisecond
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, server
}

// ask sends a request, which change may modify first.
func ask(t *testing.T, server *httptest.Server, path string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(request)
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func unchanged(*http.Request) {}

// viewer reads the updates of a page.
type viewer struct {
	t     *testing.T
	lines *bufio.Reader
	leave context.CancelFunc
}

func view(t *testing.T, server *httptest.Server) *viewer {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(leave)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return &viewer{t: t, lines: bufio.NewReader(response.Body), leave: leave}
}

// next reads one event.
func (v *viewer) next() (event string, data string) {
	v.t.Helper()
	for {
		line, err := v.lines.ReadString('\n')
		if err != nil {
			v.t.Fatal(err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			return event, data
		case "event":
			event = value
		case "data":
			data = value
		}
	}
}

// update reads updates until wanted accepts one.
func (v *viewer) update(wanted func(snapshot) bool) snapshot {
	v.t.Helper()
	for {
		_, data := v.next()
		var update snapshot
		if err := json.Unmarshal([]byte(data), &update); err != nil {
			v.t.Fatal(err)
		}
		if wanted(update) {
			return update
		}
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); !isSo(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}
