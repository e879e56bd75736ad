package explain

import "time"

// ShimStatus is the running shim's description of itself.
type ShimStatus struct {
	File    string    `json:"file"` // its configuration
	Read    time.Time `json:"read"` // when the shim read it
	Version string    `json:"version"`
	Shim    string    `json:"shim,omitempty"`    // socket that it serves; empty from a shim of an older version
	Runtime string    `json:"runtime,omitempty"` // its runtime's socket; empty if it has found none, or from a shim of an older version
	Restart []string  `json:"restart,omitempty"` // changed keys that take effect only after a restart

	Refused string `json:"refused,omitempty"` // why the last reload of File failed; the configuration of Read stays in force
	Metrics string `json:"metrics,omitempty"` // why the shim does not listen on the metrics address
	Unread  string `json:"unread,omitempty"`  // why the ledger could not be read at the start; it is not written until a restart

	Names  Naming `json:"names"`  // place of the names of pulled images: runtime or ledger
	Ledger int    `json:"ledger"` // names in its ledger

	Waiting     string       `json:"waiting,omitempty"`     // runtime's socket, or a description, that it waits for; it serves no calls until then
	Clients     []ShimClient `json:"clients"`               // connected processes, kubelet first; nil from a shim of an older version
	MoreClients int          `json:"moreClients,omitempty"` // connected processes that Clients leaves out
}
