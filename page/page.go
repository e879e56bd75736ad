package page

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Sources is what a [Page] asks when somebody looks at it. The functions are called from
// several goroutines at once, and none may return a secret.
type Sources struct {
	// Host is what the page's listener is configured with, without a port: beside localhost
	// and IP addresses the only name that a browser may know the page by.
	Host func() string
	// Service is how the daemon is now. It ends with ctx.
	Service func(ctx context.Context) Service
	// Registries are those of the configuration, the preferred one first.
	Registries func() []Registry
	// Ledger returns the names that contain a text in one of their fields, the newest first
	// and no more than limit.
	Ledger func(text string, limit int) Names
	// Configuration says in lines what the configuration means.
	Configuration func() string
}

// Service is how the daemon is.
type Service struct {
	Node    string    `json:"node"` // the host's name
	Version string    `json:"version"`
	Socket  string    `json:"socket"`            // that is served
	Runtime string    `json:"runtime"`           // the runtime's socket
	Away    string    `json:"away,omitempty"`    // why the runtime does not answer; empty where it does
	Closed  string    `json:"closed,omitempty"`  // why the socket accepts no clients; empty where it does
	File    string    `json:"file"`              // of the configuration
	Read    time.Time `json:"read"`              // when the file was last found to say what holds
	Refused string    `json:"refused,omitempty"` // why what it says now does not hold
	Restart []string  `json:"restart,omitempty"` // keys whose values in it take effect after a restart
	Names   Naming    `json:"names"`
}

// Naming says where the names of pulled images are kept.
type Naming struct {
	Mode    string `json:"mode"`              // runtime, ledger or unknown
	Reason  string `json:"reason"`            // in a few words
	Ledger  int    `json:"ledger"`            // names in the ledger
	Repairs int    `json:"repairs,omitempty"` // repositories whose names the runtime refused to change
}

// Registry is a configured registry, and how its look-ups go.
type Registry struct {
	Address  string    `json:"address"`
	Priority int       `json:"priority"`
	State    State     `json:"state"`
	Since    time.Time `json:"since,omitzero"`    // of the state
	Reason   string    `json:"reason,omitempty"`  // of the state
	Latency  float64   `json:"latency,omitempty"` // seconds that the last answer took
	Answered time.Time `json:"answered,omitzero"` // when that was
}

// State says whether a registry is asked.
type State string

const (
	Up         State = "up"
	Down       State = "down"         // not asked until it answers again
	SlowInPart State = "slow in part" // some of its pulls did not end in time
	Unasked    State = "not asked yet"
)

// Names are what the ledger has.
type Names struct {
	Names []Name `json:"names"`
	Found int    `json:"found"` // how many there are that contain the text
	All   int    `json:"all"`
}

// Name is a name in the ledger.
type Name struct {
	Original string    `json:"original"` // that was asked for
	Image    string    `json:"image"`    // its ID
	Stored   string    `json:"stored"`   // what the runtime was asked for
	Registry string    `json:"registry,omitempty"`
	At       time.Time `json:"at"`
}

// Page is the debug page of one daemon. Its methods are safe for concurrent use.
type Page struct {
	sources   Sources
	started   time.Time
	calls     calls
	decisions decisions
	viewers   chan struct{} // one for each
	searching chan struct{} // holds who searches the ledger
	pace      time.Duration // from one update of a viewer to the next
	patience  time.Duration // with a viewer that does not take an update
	handler   http.Handler
}

// New makes a page.
func New(sources Sources) *Page {
	p := &Page{
		sources:   sources,
		started:   time.Now(),
		viewers:   make(chan struct{}, 8),
		searching: make(chan struct{}, 1),
		pace:      time.Second,
		patience:  10 * time.Second,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", document)
	mux.HandleFunc("GET /snapshot", func(response http.ResponseWriter, request *http.Request) {
		reply(response, p.snapshot(request.Context()))
	})
	mux.HandleFunc("GET /live", p.live)
	mux.HandleFunc("GET /ledger", p.search)
	p.handler = p.guard(mux)
	return p
}

// ServeHTTP implements [http.Handler].
func (p *Page) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	p.handler.ServeHTTP(response, request)
}

// namesShown bounds what one search shows.
const namesShown = 50

// search looks for names in the ledger, for one viewer at a time: it takes the ledger's
// lock for as long as it takes to read thousands of names.
func (p *Page) search(response http.ResponseWriter, request *http.Request) {
	select {
	case p.searching <- struct{}{}:
	case <-request.Context().Done():
		return
	}
	found := func() Names {
		defer func() { <-p.searching }()
		return p.sources.Ledger(request.URL.Query().Get("q"), namesShown)
	}()
	reply(response, found) // which waits for whoever asked, so nobody may wait for it
}

func reply(response http.ResponseWriter, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	response.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = response.Write(text) // whoever asked may be gone
}
