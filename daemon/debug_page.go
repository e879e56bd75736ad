package daemon

import (
	"context"
	"net"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc/status"

	"image-cri-shim/page"
	"image-cri-shim/printable"
	"image-cri-shim/rewrite"
	"image-cri-shim/trace/redact"
	"image-cri-shim/version"
)

// applyDebugPage turns the debug page on or off according to the current configuration.
func (d *daemon) applyDebugPage() {
	switch {
	case d.current.Load().settings.Metrics == "":
		d.observers.page.Store(nil)
	case d.observers.page.Load() == nil:
		d.observers.page.Store(d.newPage())
	}
}

// debugPage serves the debug page, or 404 while it is off.
func (d *daemon) debugPage(response http.ResponseWriter, request *http.Request) {
	if p := d.observers.page.Load(); p != nil {
		p.ServeHTTP(response, request)
		return
	}
	http.NotFound(response, request)
}

func (d *daemon) newPage() *page.Page {
	return page.New(page.Sources{
		Host: func() string {
			host, _, _ := net.SplitHostPort(d.current.Load().settings.Metrics) // empty for a unix socket
			return host
		},
		Service:       d.service,
		Registries:    d.conditions,
		Ledger:        d.searchLedger,
		Configuration: d.describe,
		Resolve:       d.explainOnPage,
	})
}

// showDecision adds a decision to the debug page.
func (o *observers) showDecision(made rewrite.Decision) {
	p := o.page.Load()
	if p == nil {
		return
	}
	shown := page.Decision{
		Method: made.Method, Asked: made.Asked, Served: made.Served, Registry: made.Registry,
		Reason: made.Reason, Names: string(made.Names), Namespace: made.Namespace, Pod: made.Pod, Seconds: made.Duration.Seconds(),
		Tried: made.Tried, Absent: made.Absent,
	}
	if made.Err != nil {
		failed := status.Convert(made.Err)
		shown.Error = failed.Code().String() + ": " + failed.Message()
	}
	for _, text := range []*string{&shown.Asked, &shown.Served, &shown.Registry, &shown.Reason, &shown.Tried, &shown.Error} {
		*text = redact.Field((*text)[:min(len(*text), redactLimit)]) // a client may send a login in a name
	}
	p.ObserveDecision(shown)
}

func (d *daemon) service(ctx context.Context) page.Service {
	node, _ := os.Hostname() // empty if it is unknown
	service := page.Service{
		Node: node, Version: version.Short(), Socket: d.settings.Shim, Runtime: d.runtime,
		ConfigFile: absolute(d.file), ConfigRead: *d.read.Load(), ConfigError: d.refusal(), RestartKeys: d.waitingKeys(), Names: d.naming(),
	}
	if err := d.checkRuntime(ctx); err != nil {
		service.RuntimeError = printable.Error(err, errorLimit)
	}
	switch {
	case d.stopping.Load():
		service.NotServing = errStopping.Error()
	case !d.serving.Load():
		service.NotServing = errWaiting.Error()
	}
	return service
}

func (d *daemon) naming() page.Naming {
	naming := d.namer.Status()
	return page.Naming{Mode: string(naming.Mode), Reason: naming.Reason, Ledger: d.ledger.Len(), Repairs: d.namer.Repairs()}
}

func (d *daemon) conditions() []page.Registry {
	g := d.current.acquire()
	defer g.release()
	registries := []page.Registry{}
	for _, c := range g.registries.Conditions() {
		shown := page.Registry{Address: c.Registry, Priority: c.Priority, State: page.Up, Since: c.Since, Latency: c.Latency.Seconds(), Answered: c.Answered}
		switch {
		case c.Down:
			shown.State, shown.Reason = page.Down, c.Reason
		case c.Stalled != "":
			shown.State, shown.Reason = page.SlowInPart, c.Stalled
		case c.Answered.IsZero() && c.Since.IsZero():
			shown.State = page.Unasked
		}
		registries = append(registries, shown)
	}
	return registries
}

func (d *daemon) searchLedger(text string) (names []page.Name, all int) {
	found, all := d.ledger.Search(text)
	for _, name := range found {
		names = append(names, page.Name{Original: name.Original, Image: name.Image, Stored: name.Stored, Registry: name.Registry, At: name.At})
	}
	return names, all
}

// explainOnPage returns an explanation of one image for the debug page.
func (d *daemon) explainOnPage(ctx context.Context, image string) page.Explanation {
	resolution, err := d.resolve(ctx, []string{image})
	if err != nil {
		return page.Explanation{Note: printable.Error(err, errorLimit)}
	}
	explanation := page.Explanation{Note: resolution.Note()}
	for _, row := range resolution.Images[0].Rows() {
		explanation.Rows = append(explanation.Rows, page.ExplanationRow(row))
	}
	return explanation
}

func (d *daemon) describe() string {
	var text strings.Builder
	_ = d.current.Load().settings.Describe(&text) // a strings.Builder returns no errors
	return text.String()
}
