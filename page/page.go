package page

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Sources are the functions that a [Page] calls for each viewer. They must be safe for
// concurrent use, and must not return secrets.
type Sources struct {
	// Host returns the host of the page's configured address. Requests must be for this host,
	// localhost or an IP address.
	Host func() string
	// Service returns the daemon's state. It must return when ctx is done.
	Service func(ctx context.Context) Service
	// Registries returns the configured registries, sorted by preference.
	Registries func() []Registry
	// Ledger returns the names with a field that contains text, the newest first, and the
	// number of all names.
	Ledger func(text string) (found []Name, all int)
	// Configuration returns the description of the configuration in force.
	Configuration func() string
	// Resolve explains which registry would serve an image. It must return soon after ctx is
	// done.
	Resolve func(ctx context.Context, image string) Explanation
}

// Service is the state of the daemon.
type Service struct {
	Node         string    `json:"node"` // host name
	Version      string    `json:"version"`
	Socket       string    `json:"socket"`           // the shim's socket
	Runtime      string    `json:"runtime"`          // the runtime's socket
	RuntimeError string    `json:"away,omitempty"`   // why the runtime does not answer; empty if it answers
	NotServing   string    `json:"closed,omitempty"` // why the socket accepts no clients; empty if it accepts them
	ConfigFile   string    `json:"file"`
	ConfigRead   time.Time `json:"read"`              // when the file was last found to match the configuration in force
	ConfigError  string    `json:"refused,omitempty"` // why the last reload failed; empty if it succeeded
	RestartKeys  []string  `json:"restart,omitempty"` // changed keys that take effect after a restart
	Names        Naming    `json:"names"`
}

// Naming describes where the names of pulled images are kept: in the runtime or the ledger.
type Naming struct {
	Mode    string `json:"mode"`              // runtime, ledger or unknown
	Reason  string `json:"reason"`            // why this mode is in force
	Ledger  int    `json:"ledger"`            // names in the ledger
	Repairs int    `json:"repairs,omitempty"` // repositories with names that the runtime refused to change
}

// Registry is a configured registry and the state of its lookups.
type Registry struct {
	Address  string    `json:"address"`
	Priority int       `json:"priority"`
	State    State     `json:"state"`
	Since    time.Time `json:"since,omitzero"`    // when the state began
	Reason   string    `json:"reason,omitempty"`  // why the registry is in this state
	Latency  float64   `json:"latency,omitempty"` // duration of the last answer, in seconds
	Answered time.Time `json:"answered,omitzero"` // time of the last answer
}

// State is the state of a registry.
type State string

const (
	Up         State = "up"
	Down       State = "down"         // not asked until it answers again
	SlowInPart State = "slow in part" // some pulls from it exceeded their timeout
	Unasked    State = "not asked yet"
)

// Page is the debug page of one daemon. Its methods are safe for concurrent use.
type Page struct {
	sources        Sources
	started        time.Time
	calls          calls
	decisions      decisions
	viewerSlots    chan struct{} // one element for each viewer
	searchSlot     chan struct{} // holds an element during a search of the ledger
	resolver       resolver
	updateInterval time.Duration // of each viewer
	writeTimeout   time.Duration // of an update
	handler        http.Handler
}

// New returns a page.
func New(sources Sources) *Page {
	p := &Page{
		sources:        sources,
		started:        time.Now(),
		viewerSlots:    make(chan struct{}, 8),
		searchSlot:     make(chan struct{}, 1),
		resolver:       newResolver(),
		updateInterval: time.Second,
		writeTimeout:   10 * time.Second,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", serveDocument)
	mux.HandleFunc("GET /snapshot", func(response http.ResponseWriter, request *http.Request) {
		writeJSON(response, p.snapshot(request.Context()))
	})
	mux.HandleFunc("GET /live", p.live)
	mux.HandleFunc("GET /ledger", p.search)
	mux.HandleFunc("GET /resolve", p.resolve)
	p.handler = p.guard(mux)
	return p
}

// ServeHTTP implements [http.Handler].
func (p *Page) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	p.handler.ServeHTTP(response, request)
}

func writeJSON(response http.ResponseWriter, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = response.Write(text) // the client may have disconnected
}
