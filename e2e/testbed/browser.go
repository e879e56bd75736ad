package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browserCommands are the supported browsers in order of preference. Debian's
// chromium-headless-shell is half the size of its chromium.
var browserCommands = []string{"/usr/lib/chromium/chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"}

// BrowserMissing returns the reason why no browser can be started on this machine, or
// nil if one can.
func BrowserMissing() error {
	_, err := findBrowser()
	return err
}

func findBrowser() (string, error) {
	for _, name := range browserCommands {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is installed (Debian's chromium-headless-shell)")
}

// Browser is a headless Chromium with one tab and temporary files. It can connect to
// 127.0.0.1 only.
//
// Its methods must not be called concurrently.
type Browser struct {
	tab context.Context
	end context.CancelFunc

	watching sync.WaitGroup
	mutex    sync.Mutex
	messages []string
	requests []string
}

// StartBrowser starts a browser. The caller must close it. It ends when ctx is done.
func StartBrowser(ctx context.Context) (*Browser, error) {
	path, err := findBrowser()
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has no sandbox for root
	}
	b := &Browser{}
	allocator, end := chromedp.NewExecAllocator(ctx, options...)
	b.tab, _ = chromedp.NewContext(allocator)
	b.end = end
	if err := b.recordEvents(); err != nil {
		b.Close()
		return nil, fmt.Errorf("start a browser: %w", err)
	}
	return b, nil
}

// recordEvents starts recording the tab's requests and console messages.
func (b *Browser) recordEvents() error {
	if err := chromedp.Do(b.tab); err != nil { // creates the tab
		return err
	}
	messages := chromedp.Console(b.tab)
	b.watching.Go(func() {
		for message, err := range messages {
			if err != nil {
				return
			}
			b.record(&b.messages, message.String()+" "+message.URL)
		}
	})
	if _, err := chromedp.Call(b.tab, network.Enable, network.EnableParams{}); err != nil {
		return err
	}
	return chromedp.Listen(b.tab, func(event any) {
		if sent, ok := event.(*network.EventRequestWillBeSent); ok {
			b.record(&b.requests, sent.Request.URL)
		}
	})
}

func (b *Browser) record(list *[]string, entry string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	*list = append(*list, entry)
}

func (b *Browser) recorded(list *[]string) []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return slices.Clone(*list)
}

// Requests returns the URLs that the tab has requested.
func (b *Browser) Requests() []string { return b.recorded(&b.requests) }

// Messages returns the tab's console messages.
func (b *Browser) Messages() []string { return b.recorded(&b.messages) }

// Close ends the browser and waits for its recorders.
func (b *Browser) Close() {
	_ = chromedp.Cancel(b.tab)
	b.end()
	b.watching.Wait()
}

// Do runs actions in the tab, in order.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) error {
	return chromedp.Do(b.tab, actions...)
}

// SetSize sets the width and height of the tab, in CSS pixels.
func (b *Browser) SetSize(width, height int64, scale float64) error {
	return b.Do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
}

// SetColorScheme sets the preferred color scheme, "light" or "dark".
func (b *Browser) SetColorScheme(scheme string) error {
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
	_, err := chromedp.Call(b.tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
	return err
}

// Screenshot returns a PNG of the visible part of the tab.
func (b *Browser) Screenshot() ([]byte, error) {
	return chromedp.Run(b.tab, chromedp.CaptureScreenshot())
}

// Evaluate returns the value of a JavaScript expression in the tab.
func Evaluate[T any](b *Browser, expression string) (T, error) {
	return chromedp.Run(b.tab, chromedp.Evaluate[T](expression))
}
