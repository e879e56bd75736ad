package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// screenshotsVariable is the environment variable with the folder for the documentation's
// screenshots of the debug page.
const screenshotsVariable = "PAGE_SCREENSHOTS"

// TestPageScreenshots takes screenshots of the debug page of a node that has made some calls
// and has a registry that is down.
func TestPageScreenshots(t *testing.T) {
	folder := os.Getenv(screenshotsVariable)
	if folder == "" {
		t.Skip(screenshotsVariable + " is not set")
	}
	if err := testbed.BrowserMissing(); err != nil {
		t.Skip(err)
	}
	p := openPage(t, privateConfiguration())
	p.works(t)
	p.do(t, chromedp.Navigate(p.address+"/"))
	p.loses(t, shared.private, func() {
		for _, picture := range []struct {
			file          string
			width, height int64
			scheme        string
		}{
			{"page.png", 1400, 1300, "light"},
			{"page-phone.png", 390, 1100, "dark"},
		} {
			p.screenshot(t, filepath.Join(folder, picture.file), picture.width, picture.height, picture.scheme)
		}
	})
}

// works makes the calls of a node that starts some pods.
func (p *debugPage) works(t *testing.T) {
	t.Helper()
	for _, name := range []string{"nginx:1.25", "same:1", "original:1", "nginx"} {
		p.status(t, p.through, name)
		if err := p.pullFor(t, name, "shop", "cart-6d5f8b7c94-x2x8k", callerLogin); err != nil {
			t.Fatal(err)
		}
		p.status(t, p.through, name)
	}
	if err := p.pullFor(t, "search:2.0-rc1", "shop", "search-0", callerLogin); err == nil {
		t.Fatal("pulled an image that no registry has")
	}
	for range 200 {
		p.list(t, p.through)
		if _, err := p.through.Runtime.ListContainers(testContext(t), &runtimeapi.ContainerFilter{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.through.Runtime.ListPodSandbox(testContext(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = p.through.Runtime.ContainerStatus(testContext(t), "0a1b2c", false) // an unknown ID
}

func (p *debugPage) screenshot(t *testing.T, file string, width, height int64, scheme string) {
	t.Helper()
	if err := p.browser.SetColorScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := p.browser.SetSize(width, height, 1); err != nil {
		t.Fatal(err)
	}
	png, err := p.browser.Screenshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}
