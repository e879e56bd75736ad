package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// missingImage is an image that no registry has, and missingPod a pod that needs it.
const missingImage, missingPod = "registry.k8s.io/kube-controller-manager:v1.30.0", "kube-controller-manager-node-1"

// showsAbsentImage requires that the pull of an image that no registry has is shown with its
// pod, but does not make the page amber.
func (p *debugPage) showsAbsentImage(t *testing.T) {
	if err := p.pullFor(t, missingImage, "kube-system", missingPod, nil); err == nil {
		t.Fatal("the pull succeeded")
	}
	p.shows(t, "decisions-rows", missingImage, "kube-system/"+missingPod, "in no registry")
	p.shows(t, "problems", missingImage, "kube-system/"+missingPod, "no registry has it", shared.private.Address()+" (absent)")
	p.shows(t, "health", "No problems of this node, but requests for images that no registry has: 1")
	if level := evaluate[string](t, p, "$('health').dataset.level + document.title[0]"); level != "ok✓" {
		t.Errorf("the page's level is %s", level)
	}
}

// brokenWords is a script that returns the words on the page that a line break divides.
const brokenWords = `(() => {
	const broken = [], range = document.createRange(), walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
	for (let node; node = walker.nextNode();) {
		if (!node.parentElement.checkVisibility()) continue;
		const word = node.parentElement.closest("code") ? /[\p{L}\d.-]{2}/u : /[\p{L}\d]{2}/u;
		const lineOf = i => {
			range.setStart(node, i);
			range.setEnd(node, i + 1);
			return range.getClientRects()[0]?.top;
		};
		for (let i = 1; i < node.data.length; i++) {
			if (word.test(node.data.slice(i - 1, i + 1)) && lineOf(i - 1) !== lineOf(i)) broken.push(node.data);
		}
	}
	return broken;
})()`

// keepsWordsWhole requires that at a width of 1400 pixels no line breaks inside a word, such
// as a part of an image's name. Names must not break at hyphens either.
func (p *debugPage) keepsWordsWhole(t *testing.T) {
	for _, width := range []int64{1400, 1920} {
		if err := p.browser.SetSize(width, 1000, 1); err != nil {
			t.Fatal(err)
		}
		if broken := evaluate[[]string](t, p, brokenWords); len(broken) > 0 {
			t.Errorf("at %d pixels, lines break inside %q", width, broken)
		}
	}
}

func (p *debugPage) showsFailuresFirst(t *testing.T) {
	want := []string{"health", "decisions", "registries", "calls", "ledger", "configuration"}
	for _, width := range []int64{1400, 390} {
		if err := p.browser.SetSize(width, 1000, 1); err != nil {
			t.Fatal(err)
		}
		byPosition := evaluate[[]string](t, p, "[...document.querySelectorAll('#health, section')].sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(part => part.id)")
		if !slices.Equal(byPosition, want) {
			t.Errorf("at %d pixels, the order is %q, want %q", width, byPosition, want)
		}
	}
	if rows := p.rows(t, "decisions-rows"); !strings.Contains(rows[0], "failed") || !strings.Contains(rows[1], "in no registry") {
		t.Errorf("the first decisions are %q", rows[:2])
	}
	if menu := evaluate[string](t, p, "[...document.querySelectorAll('nav a')].map(link => link.hash.slice(1)).join(' ')"); menu != strings.Join(want, " ") {
		t.Errorf("the menu has %q", menu)
	}
}

// foldsSections folds two sections, and requires that they stay folded until a link to one
// of them is clicked.
func (p *debugPage) foldsSections(t *testing.T) {
	folded := func() string {
		return evaluate[string](t, p, "[...document.querySelectorAll('section > details:not([open])')].map(part => part.parentElement.id).join(' ')")
	}
	if got := folded(); got != "" {
		t.Errorf("folded at first: %s", got)
	}
	p.do(t, chromedp.Click(chromedp.CSS("#calls > details > summary")), chromedp.Click(chromedp.CSS("#ledger > details > summary")))
	eventually(t, func() string { // the browser reports a fold after the click
		if stored := evaluate[string](t, p, "localStorage.getItem(foldedKey)"); stored != `["calls","ledger"]` {
			return "stored: " + stored
		}
		return ""
	})
	p.do(t, chromedp.Reload())
	p.shows(t, "connection", "Live")
	if got := folded(); got != "calls ledger" {
		t.Errorf("folded after a reload: %q", got)
	}
	p.do(t, chromedp.Click(chromedp.CSS("nav a[href='#calls']")), chromedp.Click(chromedp.CSS("nav a[href='#ledger']")))
	if got := folded(); got != "" {
		t.Errorf("folded after links to the sections: %q", got)
	}
}

// keepsMenu scrolls down on a phone.
func (p *debugPage) keepsMenu(t *testing.T) {
	if err := p.browser.SetSize(390, 700, 1); err != nil {
		t.Fatal(err)
	}
	for _, y := range []string{"600", "document.body.scrollHeight"} {
		if top := evaluate[float64](t, p, fmt.Sprintf("scrollTo(0, %s), document.querySelector('nav').getBoundingClientRect().top", y)); top != 0 {
			t.Errorf("scrolled to %s, the menu is at %v", y, top)
		}
	}
	p.do(t, chromedp.Click(chromedp.CSS("nav a[href='#decisions']")))
	if hidden := evaluate[bool](t, p, "$('decisions-heading').getBoundingClientRect().top < document.querySelector('nav').getBoundingClientRect().bottom"); hidden {
		t.Error("the menu covers the heading that it links to")
	}
	evaluate[bool](t, p, "scrollTo(0, 0), true")
}

// copies copies a name with the browser's clipboard, and without it, as on an address that is
// not on loopback.
func (p *debugPage) copies(t *testing.T) {
	button := fmt.Sprintf("[...$('problems').querySelectorAll('.copy')].find(button => button.title === 'Copy %s')", missingImage)
	copied := func() string {
		evaluate[bool](t, p, button+".click(), true")
		eventually(t, func() string {
			if text := evaluate[string](t, p, button+".textContent"); text != "Copied" {
				return "the button shows " + text
			}
			return ""
		})
		return evaluate[string](t, p, "lastCopied")
	}
	evaluate[bool](t, p, "globalThis.lastCopied = '', true")
	evaluate[bool](t, p, "navigator.clipboard.writeText = (write => text => (lastCopied = text, write(text)))(navigator.clipboard.writeText.bind(navigator.clipboard)), true")
	if got := copied(); got != missingImage {
		t.Errorf("copied %q", got)
	}
	eventually(t, func() string {
		return strings.ReplaceAll(evaluate[string](t, p, button+".textContent"), "Copy name", "")
	})
	evaluate[bool](t, p, "lastCopied = '', Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true }), true")
	evaluate[bool](t, p, "document.addEventListener('copy', () => lastCopied = document.activeElement.value), true")
	if got := copied(); got != missingImage {
		t.Errorf("without a clipboard, copied %q", got)
	}
	if left := evaluate[int](t, p, "document.querySelectorAll('.clipboard').length"); left != 0 {
		t.Errorf("%d text fields are left", left)
	}
}

// resolves shows the explanation of a failing image.
func (p *debugPage) resolves(t *testing.T) {
	p.do(t, chromedp.Click(chromedp.CSS("#problems li:last-child .resolve")))
	p.shows(t, "resolution", missingImage, "registry.k8s.io/kube-controller-manager:v1.30.0", shared.private.Address()+" absent",
		"on the node absent", "pulled as", "no registry serves the image", "image-cri-shim resolve "+missingImage)
	for _, width := range []int64{1400, 390} {
		if err := p.browser.SetSize(width, 800, 1); err != nil {
			t.Fatal(err)
		}
		if shown := evaluate[int64](t, p, "Math.max(document.documentElement.scrollWidth, $('resolution').getBoundingClientRect().right)"); shown > width {
			t.Errorf("at %d pixels, the explanation is %d wide", width, shown)
		}
	}
	p.do(t, chromedp.Click(chromedp.CSS("#resolution-close")))
	if body, err := p.get("/resolve?image=" + missingImage); err != nil || !strings.Contains(body, "403 Forbidden") {
		t.Errorf("a request that is not the page's got %q, %v", body, err)
	}
}
