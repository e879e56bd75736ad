package page

import (
	"strings"
	"sync"
	"time"
)

const (
	maxDecisions = 200
	maxTextBytes = 1000 // bytes of each text of a decision
)

// Decision describes how the shim resolved an image name in a call.
type Decision struct {
	Method   string  `json:"method"`             // "PullImage"
	Asked    string  `json:"asked"`              // as the client sent it
	Served   string  `json:"served,omitempty"`   // the reference or ID that the runtime answered for; empty if there is none
	Registry string  `json:"registry,omitempty"` // the registry that serves the image
	Reason   string  `json:"reason,omitempty"`
	Names    string  `json:"names,omitempty"` // where the requested name of a pulled image is kept: runtime or ledger
	Error    string  `json:"error,omitempty"` // the client's error
	Seconds  float64 `json:"seconds"`         // duration

	// Namespace and Pod name the pod for which an image was pulled.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`

	// Tried lists the registries that did not serve a pull, with the causes. Reason repeats it.
	Tried string `json:"-"`

	// Absent reports that a pull failed because no registry has the image.
	Absent bool `json:"absent,omitempty"`
}

// decisions keeps the last maxDecisions decisions.
type decisions struct {
	mutex sync.Mutex
	last  uint64 // number of the last decision, counted from 1
	ring  [maxDecisions]numberedDecision
}

// numberedDecision is a decision with its number and time.
type numberedDecision struct {
	Number uint64    `json:"number"`
	At     time.Time `json:"at"`
	Decision
}

// ObserveDecision records a decision.
func (p *Page) ObserveDecision(decision Decision) {
	for _, text := range []*string{&decision.Method, &decision.Asked, &decision.Served, &decision.Registry, &decision.Reason, &decision.Names, &decision.Error, &decision.Namespace, &decision.Pod, &decision.Tried} {
		*text = strings.Clone(clip(*text, maxTextBytes)) // does not keep the whole text in memory
	}
	p.decisions.add(time.Now(), decision)
}

func (d *decisions) add(now time.Time, decision Decision) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.last++
	d.ring[d.last%maxDecisions] = numberedDecision{d.last, now, decision}
}

// newestFirst returns the stored decisions, the newest first.
func (d *decisions) newestFirst() []numberedDecision {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	kept := make([]numberedDecision, min(d.last, maxDecisions))
	for i := range kept {
		kept[i] = d.ring[(d.last-uint64(i))%maxDecisions]
	}
	return kept
}

// clip shortens text to at most limit bytes and an ellipsis, without splitting a character.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
