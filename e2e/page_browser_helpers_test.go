package e2e

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// debugPage is a shim's debug page in a browser.
type debugPage struct {
	*node
	browser       *testbed.Browser
	address       string // of the page
	configuration string // of the shim
}

// openPage starts a shim, and a browser for its page. Besides the given configuration, the shim
// has a registry without images.
func openPage(t *testing.T, configuration string) *debugPage {
	t.Helper()
	runtime := cmp.Or(shared.containerd, shared.embedded)
	other := testbed.StartFaultyRegistry(testbed.Healthy, nil)
	t.Cleanup(other.Close)
	address := freeAddress(t)
	p := &debugPage{address: "http://" + address}
	p.configuration = fmt.Sprintf("%smetrics: %s\nregistries:\n- address: %s\n  priority: 100\n", configuration, address, other.Address())
	p.node = newNode(t, runtime, p.configuration)
	eventually(t, func() string {
		if _, err := p.get("/snapshot"); err != nil {
			return err.Error()
		}
		return ""
	})
	browser, err := testbed.StartBrowser(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(browser.Close)
	p.browser = browser
	return p
}

// freeAddress returns an address of this machine on which no process listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func (p *debugPage) get(path string) (body string, err error) {
	response, err := http.Get(p.address + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	var answer strings.Builder // including its header
	err = response.Write(&answer)
	return answer.String(), err
}

func evaluate[T any](t *testing.T, p *debugPage, expression string) T {
	t.Helper()
	value, err := testbed.Evaluate[T](p.browser, expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (p *debugPage) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := p.browser.Do(actions...); err != nil {
		t.Fatal(err)
	}
}

// text returns the visible text of the element with an ID, on one line.
func (p *debugPage) text(t *testing.T, id string) string {
	t.Helper()
	return strings.Join(strings.Fields(evaluate[string](t, p, fmt.Sprintf("$(%q).innerText", id))), " ")
}

// shows waits until an element contains all of the texts.
func (p *debugPage) shows(t *testing.T, id string, wanted ...string) {
	t.Helper()
	eventually(t, func() string {
		text := p.text(t, id)
		for _, part := range wanted {
			if !strings.Contains(text, part) {
				return fmt.Sprintf("%s shows %q, without %q", id, text, part)
			}
		}
		return ""
	})
}

// rows returns the texts of a table's visible rows.
func (p *debugPage) rows(t *testing.T, body string) []string {
	t.Helper()
	return evaluate[[]string](t, p, fmt.Sprintf("[...$(%q).rows].map(row => row.innerText)", body))
}

// showsRows waits until a table has the given number of rows and each contains a text.
func (p *debugPage) showsRows(t *testing.T, body string, number int, text string) {
	t.Helper()
	eventually(t, func() string {
		rows := p.rows(t, body)
		if len(rows) != number || slices.ContainsFunc(rows, func(row string) bool { return !strings.Contains(row, text) }) {
			return fmt.Sprintf("%s shows %q, want %d rows with %q", body, rows, number, text)
		}
		return ""
	})
}

// set sets the value of a form's field.
func (p *debugPage) set(t *testing.T, id, value string) {
	t.Helper()
	evaluate[bool](t, p, fmt.Sprintf("$(%[1]q).value = %[2]q; $(%[1]q).dispatchEvent(new Event('input'))", id, value))
}

// loses calls do while a registry is down and the shim knows it.
func (p *debugPage) loses(t *testing.T, registry *testbed.Registry, do func()) {
	t.Helper()
	registry.Stop()
	defer func() { // restore it for the next test, even if this test fails
		if err := registry.Start(testContext(t)); err != nil {
			t.Error(err)
		}
	}()
	for _, pod := range []string{"web-7c5ddbdf54-kq2lm", "web-7c5ddbdf54-8zv4p"} {
		if err := p.pullFor(t, "nginx:1.26", "shop", pod, nil); err == nil {
			t.Error("pulled an image that no registry has")
		}
	}
	p.shows(t, "problems", "The registry "+registry.Address()+" is down", "shop/web-7c5ddbdf54-8zv4p")
	do()
}

// pullFor pulls an image for a pod, as kubelet does.
func (p *debugPage) pullFor(t *testing.T, image, namespace, pod string, auth *runtimeapi.AuthConfig) error {
	t.Helper()
	sandbox := &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: pod, Namespace: namespace, Uid: pod}}
	_, err := p.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: image}, auth, sandbox)
	return err
}
