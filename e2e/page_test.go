package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"google.golang.org/protobuf/types/known/emptypb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// hostile is a name that runs a script if a page inserts it as markup.
const hostile = `<img/src=x/onerror=document.title='hacked'><script>document.title='hacked'</script>`

// TestPage uses the debug page like an operator.
func TestPage(t *testing.T) {
	if err := testbed.BrowserMissing(); err != nil {
		t.Skip(err)
	}
	p := openPage(t, privateConfiguration()+namesInLedger+"fallback: never\n")
	for _, step := range []struct {
		name string
		do   func(*debugPage, *testing.T)
	}{
		{"opens", (*debugPage).opens},
		{"new decisions appear", (*debugPage).showsDecisions},
		{"an image that no registry has", (*debugPage).showsAbsentImage},
		{"names do not break", (*debugPage).keepsWordsWhole},
		{"hostile names are not markup", (*debugPage).showsHostileNames},
		{"filter", (*debugPage).filters},
		{"ledger", (*debugPage).searchesLedger},
		{"order of the sections", (*debugPage).showsFailuresFirst},
		{"folding", (*debugPage).foldsSections},
		{"menu on a phone", (*debugPage).keepsMenu},
		{"copy", (*debugPage).copies},
		{"resolve", (*debugPage).resolves},
		{"pause", (*debugPage).pauses},
		{"keyboard", (*debugPage).isReachedByKeyboard},
		{"screen widths", (*debugPage).fitsEveryWidth},
		{"a registry goes down and returns", (*debugPage).showsRegistries},
		{"secrets", (*debugPage).keepsSecrets},
		{"no external requests, no console messages", (*debugPage).isSelfContained},
		{"an invalid configuration", (*debugPage).showsRefusal},
		{"the runtime goes down", (*debugPage).showsRuntime},
		{"the shim is restarted", (*debugPage).comesBack},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.do(p, t) }) {
			break // later steps depend on earlier ones
		}
	}
	if title := evaluate[string](t, p, "document.title"); strings.Contains(title, "hacked") {
		t.Error("a hostile name has run as a script")
	}
}

func (p *debugPage) opens(t *testing.T) {
	p.do(t, chromedp.Navigate(p.address+"/"))
	p.shows(t, "connection", "Live")
	p.shows(t, "health", "No problems")
	p.shows(t, "decisions-empty", "crictl pull nginx")
	p.shows(t, "ledger-empty", "Empty")
	p.shows(t, "facts", "in the ledger")
	p.shows(t, "configuration-text", "password ********", p.address[len("http://"):])
	p.shows(t, "registries-rows", shared.private.Address(), "not asked yet")
}

func (p *debugPage) showsDecisions(t *testing.T) {
	id := p.pull(t, p.through, "nginx:1.25", nil)
	p.shows(t, "decisions-rows", "PullImage", "nginx:1.25", shared.private.Host()+"/library/nginx:1.25", "the registry has it", "just now")
	p.shows(t, "calls-rows", "PullImage", "runtime.v1.ImageService")
	p.shows(t, "ledger-rows", "docker.io/library/nginx:1.25", strings.TrimPrefix(id, "sha256:")[:12])
	p.shows(t, "registries-rows", "up", "ms")
	if bars := evaluate[string](t, p, "document.querySelector('.bars').getAttribute('aria-label')"); !strings.Contains(bars, "within") {
		t.Errorf("the durations are called %q", bars)
	}
}

// TestPageOfNamesInTheRuntime opens the page of a shim whose ledger stays empty.
func TestPageOfNamesInTheRuntime(t *testing.T) {
	needContainerd(t)
	if err := testbed.BrowserMissing(); err != nil {
		t.Skip(err)
	}
	p := openPage(t, privateConfiguration())
	p.do(t, chromedp.Navigate(p.address+"/"))
	p.shows(t, "facts", "Names kept in the runtime (containerd's images service answers)")
	p.shows(t, "ledger-hint", "that are not in the runtime yet")
	p.pull(t, p.through, "nginx:1.25", nil)
	p.shows(t, "decisions-rows", "the registry has it", "named in the runtime")
	p.shows(t, "ledger-empty", "the runtime has all names")
	p.do(t, chromedp.SendKeys(chromedp.CSS("#filter"), "named in"))
	p.showsRows(t, "decisions-rows", 1, "PullImage")
}

func (p *debugPage) showsHostileNames(t *testing.T) {
	_, err := p.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: hostile}, nil, nil)
	if err == nil {
		t.Fatal("the pull succeeded, want an error")
	}
	p.shows(t, "decisions-rows", hostile, "failed")
	p.shows(t, "problems", hostile)
	p.do(t, chromedp.SendKeys(chromedp.CSS("#search"), hostile))
	p.shows(t, "ledger-empty", hostile)
	p.set(t, "search", "")
	if n := evaluate[int](t, p, "document.querySelectorAll('img').length"); n > 0 {
		t.Errorf("a hostile name was inserted as %d elements", n)
	}
	if n := evaluate[int](t, p, "document.scripts.length"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
}

func (p *debugPage) filters(t *testing.T) {
	p.pull(t, p.through, "nginx", nil)
	p.status(t, p.through, "nginx:1.25")
	p.showsRows(t, "decisions-rows", 4, "")
	p.do(t, chromedp.SendKeys(chromedp.CSS("#filter"), "NGINX 1.25"))
	p.showsRows(t, "decisions-rows", 1, "nginx:1.25")
	p.shows(t, "decisions-rows", "PullImage", "1 more call") // one row for both decisions
	p.shows(t, "decisions-count", "2 of the last 5")
	p.set(t, "kind", "acts")
	p.showsRows(t, "decisions-rows", 1, "PullImage")
	p.set(t, "kind", "failures")
	p.showsRows(t, "decisions-rows", 0, "")
	p.shows(t, "decisions-empty", "None of the last 5")
	p.set(t, "filter", "kube-system/kube-controller")
	p.showsRows(t, "decisions-rows", 1, "in no registry")
	p.set(t, "filter", "img")
	p.showsRows(t, "decisions-rows", 1, "failed")
	p.set(t, "filter", "")
	p.set(t, "kind", "all")
	p.showsRows(t, "decisions-rows", 4, "")
}

func (p *debugPage) searchesLedger(t *testing.T) {
	// latest and 1.25, and the digest of each
	p.shows(t, "ledger-count", "2 images, 4 names in total")
	p.showsRows(t, "ledger-rows", 2, "1 digest")
	if rows := p.rows(t, "ledger-rows"); strings.Contains(strings.Join(rows, " "), "@sha256:") {
		t.Errorf("digests are not folded: %q", rows)
	}
	p.do(t, chromedp.Click(chromedp.CSS("#ledger-rows th summary")))
	p.shows(t, "ledger-rows", "docker.io/library/nginx@sha256:")
	p.do(t, chromedp.SendKeys(chromedp.CSS("#search"), "nginx:1."))
	p.showsRows(t, "ledger-rows", 1, "docker.io/library/nginx:1.25")
	p.shows(t, "ledger-count", "1 image, 4 names in total")
	p.do(t, chromedp.SendKeys(chromedp.CSS("#search"), "x"))
	p.showsRows(t, "ledger-rows", 0, "")
	p.shows(t, "ledger-empty", "No name in the ledger contains nginx:1.x")
	p.set(t, "search", "")
	p.showsRows(t, "ledger-rows", 2, "docker.io/library/nginx")
}

func (p *debugPage) pauses(t *testing.T) {
	p.do(t, chromedp.Click(chromedp.CSS("#pause")))
	p.shows(t, "connection", "Paused at")
	p.pull(t, p.through, "same:1", nil)
	if snapshot, err := p.get("/snapshot"); err != nil || !strings.Contains(snapshot, "same:1") {
		t.Fatalf("the shim has not recorded the pull: %v", err)
	}
	p.showsRows(t, "decisions-rows", 4, "")
	p.do(t, chromedp.Click(chromedp.CSS("#pause")))
	p.shows(t, "connection", "Live")
	p.showsRows(t, "decisions-rows", 5, "")
}

// isReachedByKeyboard moves through the page with the Tab key.
func (p *debugPage) isReachedByKeyboard(t *testing.T) {
	wanted := []string{"configuration-text", "filter", "kind", "pause", "search"}
	var reached []string
	for range 150 {
		p.do(t, chromedp.KeyEvent(kb.Tab))
		id := evaluate[string](t, p, "document.activeElement.id")
		if slices.Contains(wanted, id) && !slices.Contains(reached, id) {
			reached = append(reached, id)
		}
	}
	slices.Sort(reached) // the order starts at the element that was clicked last
	if !slices.Equal(reached, wanted) {
		t.Errorf("reached %q, want %q", reached, wanted)
	}
}

func (p *debugPage) fitsEveryWidth(t *testing.T) {
	for _, width := range []int64{320, 360, 414, 768, 1024, 1366, 1440, 1920} {
		if err := p.browser.SetSize(width, 800, 1); err != nil {
			t.Fatal(err)
		}
		if shown := evaluate[int64](t, p, "document.documentElement.scrollWidth"); shown > width {
			t.Errorf("at a screen width of %d pixels the page is %d wide", width, shown)
		}
	}
}

func (p *debugPage) showsRegistries(t *testing.T) {
	p.loses(t, shared.private, func() {
		p.shows(t, "registries-rows", "down changed", "connection refused")
		p.shows(t, "health", "problem", "The registry "+shared.private.Address()+" is down", "nginx:1.26", "PullImage: failed 2 times", "shop/web-7c5ddbdf54-8zv4p, shop/web-7c5ddbdf54-kq2lm", shared.private.Address()+" (could not ask")
	})
	p.shows(t, "registries-rows", "up changed")
}

func (p *debugPage) keepsSecrets(t *testing.T) {
	for _, path := range []string{"/", "/snapshot", "/ledger?q=", "/healthz"} {
		body, err := p.get(path)
		if err != nil {
			t.Error(err)
		}
		wantNoSecret(t, path, []byte(body))
	}
	wantNoSecret(t, "page", []byte(evaluate[string](t, p, "document.documentElement.outerHTML")))
}

func (p *debugPage) isSelfContained(t *testing.T) {
	for _, request := range p.browser.Requests() {
		if !strings.HasPrefix(request, p.address+"/") && !strings.HasPrefix(request, "data:") {
			t.Errorf("the page requested %s", request)
		}
	}
	for _, message := range p.browser.Messages() {
		t.Errorf("console message: %s", message)
	}
}

func (p *debugPage) showsRefusal(t *testing.T) {
	if err := p.shim.Configure("regisitries: []\n"); err != nil {
		t.Fatal(err)
	}
	p.shows(t, "problems", "Reloading the configuration failed", "regisitries: unknown key")
}

func (p *debugPage) showsRuntime(t *testing.T) {
	p.runtime.Stop()
	t.Cleanup(func() { // restore it for the next test
		if err := p.runtime.Start(testContext(t)); err != nil {
			t.Error(err)
		}
	})
	p.shows(t, "health", "Pods can't start", "The runtime at "+p.runtime.Socket()+" does not answer")
	// Without a runtime the shim can't tell which methods exist.
	method := "/" + hostile + "/x"
	if err := p.through.Connection.Invoke(testContext(t), method, &emptypb.Empty{}, &emptypb.Empty{}); err == nil {
		t.Error("a method succeeded without a runtime")
	}
	p.shows(t, "calls-rows", "<img", "Unavailable")
}

func (p *debugPage) comesBack(t *testing.T) {
	if err := p.shim.Configure(p.configuration); err != nil {
		t.Fatal(err)
	}
	if err := p.shim.Stop(); err != nil {
		t.Fatal(err)
	}
	p.shows(t, "connection", "No connection to the shim since", "retrying")
	if err := p.shim.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	p.shows(t, "connection", "Live")
	p.shows(t, "decisions-empty", "No image requests since")
}
