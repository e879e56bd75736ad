// Package page is the daemon's debug page: one HTML document that needs nothing from
// elsewhere, and the JSON behind it.
//
//	GET /          the page
//	GET /snapshot  its content
//	GET /live      the same as server-sent events, one a second
//	GET /ledger?q= names in the ledger that contain a text
//
// The daemon reports calls ([Page.ObserveCall]) and decisions about image names
// ([Page.ObserveDecision]). Each costs a short critical section; the memory is bounded. The
// rest of the page comes from functions that are called for each viewer ([Sources]). The
// number of viewers is limited, and slow viewers miss updates, so none delays a call.
//
// The page shows untrusted text: names from manifests, errors from registries, methods that
// clients invent. The script inserts it as text nodes only, and the page's policy
// (Content-Security-Policy, Trusted Types) forbids anything else. The page has no login. It
// holds no secrets, rejects requests of other sites, and answers only on the node
// (docs/page.md).
package page
