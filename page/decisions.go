package page

import (
	"strings"
	"sync"
	"time"
)

const (
	decisionLimit = 200  // decisions kept
	textBytes     = 1000 // of each of a decision's texts
)

// Decision is what became of one image name that a client sent.
type Decision struct {
	Method   string  `json:"method"`             // "PullImage"
	Asked    string  `json:"asked"`              // as the client wrote it
	Served   string  `json:"served,omitempty"`   // what the runtime answered for; empty if nothing
	Registry string  `json:"registry,omitempty"` // that serves it
	Reason   string  `json:"reason,omitempty"`
	Names    string  `json:"names,omitempty"` // where the asked name of a pulled image is kept: runtime or ledger
	Error    string  `json:"error,omitempty"` // that the client got
	Seconds  float64 `json:"seconds"`         // that it took
}

// decisions keeps the last ones.
type decisions struct {
	mutex sync.Mutex
	last  uint64 // number of the last one; they are counted from 1
	ring  [decisionLimit]made
}

// made is a decision that was made.
type made struct {
	Number uint64    `json:"number"`
	At     time.Time `json:"at"`
	Decision
}

// Decided is told of a decision.
func (p *Page) Decided(decision Decision) {
	for _, text := range []*string{&decision.Method, &decision.Asked, &decision.Served, &decision.Registry, &decision.Reason, &decision.Names, &decision.Error} {
		*text = strings.Clone(clip(*text, textBytes)) // not what it was cut from
	}
	p.decisions.add(time.Now(), decision)
}

func (d *decisions) add(now time.Time, decision Decision) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.last++
	d.ring[d.last%decisionLimit] = made{d.last, now, decision}
}

// kept are the decisions that are kept, the newest first.
func (d *decisions) kept() []made {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	kept := make([]made, min(d.last, decisionLimit))
	for i := range kept {
		kept[i] = d.ring[(d.last-uint64(i))%decisionLimit]
	}
	return kept
}

// clip cuts a text, between two characters, to a number of bytes.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
