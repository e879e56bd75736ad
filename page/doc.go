// Package page is the daemon's debug page: one self-contained HTML document, and the JSON
// behind it.
//
//	GET /          the document
//	GET /snapshot  the content of the page as JSON
//	GET /live      the same as server-sent events, one per second
//	GET /ledger?q= the images in the ledger with a name that contains a text
//	GET /resolve?image= which registry would serve an image, and why
//
// The daemon reports calls ([Page.ObserveCall]) and decisions about image names
// ([Page.ObserveDecision]). Each report takes a short critical section, and the memory is
// bounded. The rest of the content comes from functions that are called for each viewer
// ([Sources]). The number of viewers is limited, and slow viewers miss updates, so no
// viewer delays a call.
//
// The page shows untrusted text: names from manifests, errors from registries, methods that
// clients invent. The script inserts it as text nodes only, and the page's policy
// (Content-Security-Policy, Trusted Types) enforces that. The page has no login. It
// contains no secrets, rejects cross-site requests, and answers only requests from the node
// (docs/page.md).
package page
