package page

import (
	"context"
	"net/http"
	"slices"
	"time"
)

const (
	resolveTimeout  = 15 * time.Second
	resolveInterval = time.Second // minimum time between the ends of two lookups
)

// resolveHeader is the header that a request for /resolve must have. The document's script
// sets it. A script of another site can't: the browser would ask for permission first (CORS),
// which the server does not grant. Sec-Fetch-Site is not sufficient, because browsers omit it
// for addresses that are not on loopback, and because links from other sites are permitted.
const resolveHeader = "X-Image-Cri-Shim-Page"

// Explanation is the output of `image-cri-shim resolve` for one image.
type Explanation struct {
	Rows []ExplanationRow `json:"rows"`
	Note string           `json:"note,omitempty"` // how the explanation may differ from the file
}

// ExplanationRow is a line of the output: a registry, the runtime or the result.
type ExplanationRow struct {
	Subject   string `json:"subject"`
	State     string `json:"state,omitempty"`
	Reference string `json:"reference,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// resolver bounds the lookups that viewers cause.
type resolver struct {
	slot     chan struct{} // holds an element during a lookup and for interval after it
	timeout  time.Duration // of a lookup, including the wait for the slot
	interval time.Duration
}

func newResolver() resolver {
	return resolver{slot: make(chan struct{}, 1), timeout: resolveTimeout, interval: resolveInterval}
}

// resolve explains an image, for one viewer at a time. It explains only the images of the
// decisions on the page, so that it can't be used to look for other images with the
// credentials of the node.
func (p *Page) resolve(response http.ResponseWriter, request *http.Request) {
	image := request.URL.Query().Get("image")
	switch {
	case request.Header.Get(resolveHeader) == "":
		http.Error(response, "only for the page: on the node, use `image-cri-shim resolve IMAGE`", http.StatusForbidden)
		return
	case !p.decisions.contain(image):
		http.Error(response, "no decision about this image is left: on the node, use `image-cri-shim resolve IMAGE`", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), p.resolver.timeout)
	defer cancel()
	select {
	case p.resolver.slot <- struct{}{}:
	case <-ctx.Done():
		http.Error(response, "another image is being resolved: try again", http.StatusServiceUnavailable)
		return
	}
	explanation := func() Explanation {
		defer time.AfterFunc(p.resolver.interval, func() { <-p.resolver.slot })
		return p.sources.Resolve(ctx, image)
	}()
	writeJSON(response, explanation)
}

// contain reports whether a stored decision is about the requested name.
func (d *decisions) contain(asked string) bool {
	return slices.ContainsFunc(d.newestFirst(), func(decision numberedDecision) bool { return decision.Asked == asked })
}
