package explain

import (
	"context"
	"slices"
	"time"

	"github.com/distribution/reference"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/naming"
)

// Image explains one image name.
type Image struct {
	Image      string     `json:"image"`               // as given
	Reference  string     `json:"reference,omitempty"` // canonical form of Image
	Problem    string     `json:"problem,omitempty"`   // why Image is not a reference
	Registries []Registry `json:"registries"`          // the preferred one first
	Fallback   string     `json:"fallback"`            // original or never
	Pulled     string     `json:"pulled"`              // reference that the runtime is asked for; empty: none
	Registry   string     `json:"registry,omitempty"`  // registry that serves Pulled; empty: the original
	User       string     `json:"user,omitempty"`      // user of the credentials that are sent to it
	Node       Node       `json:"node"`
}

// Registry describes the lookup in one registry: the rule, the reference and the answer.
type Registry struct {
	Registry  string  `json:"registry"`
	Priority  int     `json:"priority"`
	Rule      string  `json:"rule"`                // rule of the configuration that decides whether the registry is asked
	Reference string  `json:"reference,omitempty"` // empty: the registry is not asked
	Answer    string  `json:"answer,omitempty"`    // found, absent, could not ask
	Cached    bool    `json:"cached"`              // no request was sent for it
	Reason    string  `json:"reason,omitempty"`    // why it could not be asked, or why it comes after the others
	Digest    string  `json:"digest,omitempty"`
	Seconds   float64 `json:"seconds"`
	Age       float64 `json:"ageSeconds,omitempty"`  // of a cached answer
	Left      float64 `json:"secondsLeft,omitempty"` // until the cached answer expires
	Circuit   string  `json:"circuit"`               // closed, or the time and reason of its opening
}

// Node describes the image on this node.
type Node struct {
	Names    Naming     `json:"names"`
	Problem  string     `json:"problem,omitempty"`  // why the runtime could not be asked
	Served   string     `json:"served,omitempty"`   // reference under which the runtime has the image that a client gets
	Registry string     `json:"registry,omitempty"` // registry that Served came from
	Reason   string     `json:"reason,omitempty"`   // why the image is, or is not, on the node
	Ledger   *Ledger    `json:"ledger,omitempty"`
	Runtime  []Presence `json:"runtime,omitempty"`
}

// Naming describes where the names of pulled images are kept, and why.
type Naming struct {
	Mode    string `json:"mode"` // runtime, ledger, unknown
	Reason  string `json:"reason"`
	Repairs int    `json:"repairs,omitempty"` // see [naming.Namer.Repairs]
	Stale   bool   `json:"stale,omitempty"`   // the runtime does not answer; Mode is the last known one
}

// NamingOf converts the status of a namer and its number of repairs.
func NamingOf(n naming.Status, repairs int) Naming {
	return Naming{Mode: string(n.Mode), Reason: n.Reason, Repairs: repairs, Stale: n.Stale}
}

// Ledger is the entry of the ledger for the name.
type Ledger struct {
	Image    string    `json:"image"`
	Stored   string    `json:"stored"`
	Registry string    `json:"registry,omitempty"`
	At       time.Time `json:"at"`
}

// Presence is an image in the runtime under one reference or ID.
type Presence struct {
	Reference string `json:"reference"`
	Image     string `json:"image,omitempty"` // its ID; empty if the runtime has none
	Hidden    bool   `json:"hidden,omitempty"`
	Problem   string `json:"problem,omitempty"`
}

// image explains one name.
func (e *Explainer) image(ctx context.Context, asked string) Image {
	i := Image{Image: asked, Registries: []Registry{}, Node: e.node(ctx, asked)}
	mayFallBack := rewrite.MayFallBack(asked, e.Registries.MayFallBack)
	name, err := imagename.Parse(asked)
	if err != nil {
		i.Problem = err.Error()
	} else {
		i.Reference = name.String()
		i.askRegistries(ctx, e.Registries, name, mayFallBack)
	}
	i.Fallback = string(registry.FallbackOriginal)
	if !mayFallBack {
		i.Fallback = string(registry.FallbackNever)
	}
	if mayFallBack && i.Pulled == "" {
		i.Pulled = asked
	}
	return i
}

// askRegistries adds the rules and the answers of the registries.
func (i *Image) askRegistries(ctx context.Context, registries *registry.Set, name reference.Named, mayFallBack bool) {
	answers := map[string]registry.Answer{} // by reference: each is looked up once
	for a := range registries.Find(ctx, name) {
		answers[a.Reference] = a
		if a.State == registry.Found && i.Registry == "" && !(a.LastResort && mayFallBack) {
			i.Pulled, i.Registry, i.User = a.Reference, a.Registry, a.Credentials.Username
			if i.User == "" && a.Credentials != (registry.Credentials{}) {
				i.User = "a token"
			}
		}
	}
	for _, result := range registries.RuleResults(name) {
		line := Registry{Registry: result.Registry, Priority: result.Priority, Rule: result.Rule, Reference: result.Reference, Circuit: "closed"}
		if result.Down != "" {
			line.Circuit = result.Down
		}
		if a, asked := answers[result.Reference]; asked {
			line.Answer, line.Cached, line.Digest, line.Seconds = a.State.String(), a.Cached, a.Digest, a.Duration.Seconds()
			if !a.Asked.IsZero() {
				line.Age, line.Left = time.Since(a.Asked).Seconds(), max(0, time.Until(a.Expires).Seconds())
			}
			line.Reason = a.Postponed
			if a.Err != nil {
				line.Reason = a.Err.Error()
			}
		}
		i.Registries = append(i.Registries, line)
	}
}

// hasLastResort reports whether the image is found only in registries that come after the
// original, because recent pulls of its repository there stalled; see
// [registry.Answer.LastResort].
func (i *Image) hasLastResort() bool {
	return i.Registry == "" && slices.ContainsFunc(i.Registries, func(r Registry) bool { return r.Answer == registry.Found.String() })
}

// HasFailures reports whether any registry could not be asked.
func (i *Image) HasFailures() bool {
	for _, r := range i.Registries {
		if r.Answer == registry.Unknown.String() {
			return true
		}
	}
	return false
}

func (e *Explainer) node(ctx context.Context, asked string) Node {
	local, err := e.Rewriter.Local(ctx, asked, e.invoke)
	n := Node{Served: local.Served, Registry: local.Registry, Reason: local.Reason}
	if err != nil {
		n.Problem = err.Error()
	}
	if l := local.Ledger; l != nil {
		n.Ledger = &Ledger{Image: l.Image, Stored: l.Stored, Registry: l.Registry, At: l.At}
	}
	for _, p := range local.Runtime {
		line := Presence{Reference: p.Reference, Image: p.Image, Hidden: p.Hidden}
		if p.Err != nil {
			line.Problem = p.Err.Error()
		}
		n.Runtime = append(n.Runtime, line)
	}
	return n
}
