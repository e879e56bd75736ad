// Package page is the daemon's debug page: one HTML document that needs nothing from
// elsewhere, and the JSON behind it.
//
//	GET /          the page
//	GET /snapshot  everything that it shows
//	GET /live      the same as server-sent events, one a second
//	GET /ledger?q= names in the ledger that contain a text
//
// The daemon tells a [Page] of its calls ([Page.Called]) and of its decisions about image
// names ([Page.Decided]), which costs a short critical section each and memory of a fixed
// size, and lends it functions for what can be asked when somebody looks ([Sources]).
// Viewers are few, ask for themselves and miss what they are too slow for, so that none
// holds up a call.
//
// All that is shown is others' text: names from manifests, errors from registries, methods
// that clients invent. The script puts it into the document as text only, and the page's
// policy (Content-Security-Policy, Trusted Types) forbids any other way. The page has no
// login: it holds no secret, answers nobody who comes from another site, and what it is
// served on decides who can ask (docs/page.md).
package page
