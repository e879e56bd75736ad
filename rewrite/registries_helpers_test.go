package rewrite

import (
	"context"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/distribution/reference"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// memoryLookup is a [Lookup] in memory. The registries have the remote content of the runtime
// under their hosts. The candidates have the default path.
type memoryLookup struct {
	runtime    *memoryRuntime
	registries []memoryRegistry // in the order of priority
	never      []string         // repositories with fallback: never; "" for strings that are not names
	outcomes   *[]string        // calls of Pulled and Failed
}

type memoryRegistry struct {
	host        string
	credentials Credentials
	down        bool     // lookups fail
	lies        bool     // lookups find every image
	lastResort  bool     // comes after the original
	match       []string // hosts of originals that a pattern in match fits
}

func (l memoryLookup) Candidates(name reference.Named) []Candidate {
	var candidates []Candidate
	for _, registry := range l.registries {
		full := registry.host + "/" + reference.Path(name)
		if digested, ok := name.(reference.Digested); ok {
			full += "@" + digested.Digest().String()
		} else if tagged, ok := name.(reference.Tagged); ok {
			full += ":" + tagged.Tag()
		}
		candidates = append(candidates, Candidate{
			Registry: "http://" + registry.host, Reference: full,
			MayBePreloaded: reference.Domain(name) == "docker.io" || slices.Contains(registry.match, reference.Domain(name)),
		})
	}
	return candidates
}

func (l memoryLookup) Find(_ context.Context, name reference.Named) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		for i, candidate := range l.Candidates(name) {
			answer := Answer{Candidate: candidate, Absent: true, Reason: "absent"}
			switch {
			case l.registries[i].down:
				answer.Reason = "could not ask: connection refused"
				answer.Absent = false
			case l.registries[i].lies, l.has(candidate.Reference):
				answer.Found, answer.Absent, answer.Reason, answer.Credentials = true, false, "", l.registries[i].credentials
				answer.Digest = l.digest(candidate.Reference)
				if l.registries[i].lastResort {
					answer.LastResort, answer.Reason = true, "comes last"
				}
			}
			if !yield(answer) {
				return
			}
		}
	}
}

func (l memoryLookup) MayFallBack(name reference.Named) bool {
	repository := ""
	if name != nil {
		repository = name.Name()
	}
	return !slices.Contains(l.never, repository)
}

func (l memoryLookup) Pulled(candidate Candidate) {
	*l.outcomes = append(*l.outcomes, "pulled "+candidate.Reference)
}

func (l memoryLookup) Failed(candidate Candidate, stalled time.Duration) {
	outcome := "failed "
	if stalled > 0 {
		outcome = "stalled "
	}
	*l.outcomes = append(*l.outcomes, outcome+candidate.Reference)
}

func (l memoryLookup) has(canonical string) bool {
	l.runtime.mutex.Lock()
	defer l.runtime.mutex.Unlock()
	if _, ok := l.runtime.remote[canonical]; ok {
		return true
	}
	for name, content := range l.runtime.remote {
		if imagename.Repository(name)+"@"+content.digest == canonical {
			return true
		}
	}
	return false
}

// digest returns the digest of the remote image of a tag.
func (l memoryLookup) digest(canonical string) string {
	l.runtime.mutex.Lock()
	defer l.runtime.mutex.Unlock()
	return l.runtime.remote[canonical].digest
}

const hub = "sealos.hub:5000"

// node is a runtime with a rewriter in front of it.
type node struct {
	client
	ledger    *ledger.Ledger
	directory string          // state directory
	registry  *memoryRegistry // the hub
	decisions []Decision
	outcomes  []string // calls of Pulled and Failed of the Lookup
}

// newNode returns a node with one registry, the hub, which requires credentials.
func newNode(t *testing.T) *node {
	t.Helper()
	m := newMemoryRuntime()
	m.logins[hub] = &runtime.AuthConfig{Username: "admin", Password: "canary:passw0rd", ServerAddress: hub}
	n := &node{directory: t.TempDir()}
	registries := []memoryRegistry{{host: hub, credentials: Credentials{Username: "admin", Password: "canary:passw0rd", ServerAddress: "http://" + hub}}}
	n.registry = &registries[0]
	ledger, err := ledger.Open(n.directory)
	if err != nil {
		t.Fatal(err)
	}
	n.ledger = ledger
	n.client = client{t: t, runtime: m, rewriter: New(Options{
		Lookup:  memoryLookup{runtime: m, registries: registries, outcomes: &n.outcomes},
		Ledger:  ledger,
		Decided: func(_ context.Context, d Decision) { n.decisions = append(n.decisions, d) },
		Warn:    func(err error) { t.Errorf("warning: %v", err) },
	})}
	return n
}

// reopenLedger opens the ledger again from its file.
func (n *node) reopenLedger() {
	ledger, err := ledger.Open(n.directory)
	if err != nil {
		n.t.Fatal(err)
	}
	n.ledger, n.rewriter.ledger = ledger, ledger
}

// push adds images to registries by reference, for example "docker.io/library/nginx:1.25".
func (n *node) push(references ...string) {
	for _, canonical := range references {
		n.runtime.remote[canonical] = newContent(canonical)
	}
}
