package trace

import (
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// The kinds of events.
const (
	KindCall    = "call"    // a call that has ended
	KindMessage = "message" // one message of the runtime's in a call that has many
	KindLost    = "lost"    // events that the reader was too slow for
)

// Event is a line of a trace.
type Event struct {
	Kind string    `json:"kind"`
	Time time.Time `json:"time"` // when the call began, the message came, the loss was told

	ID     uint64  `json:"id,omitempty"` // of the call, counted since the shim began
	Client *Client `json:"client,omitempty"`
	Method string  `json:"method,omitempty"` // full name, "/runtime.v1.RuntimeService/Version"

	Seconds       float64 `json:"seconds,omitempty"`
	Code          string  `json:"code,omitempty"`
	Error         string  `json:"error,omitempty"`
	RequestBytes  int64   `json:"requestBytes,omitempty"`
	ResponseBytes int64   `json:"responseBytes,omitempty"` // of a message: its own

	Pod       string     `json:"pod,omitempty"` // namespace/name
	Container string     `json:"container,omitempty"`
	Images    []string   `json:"images,omitempty"` // as the client wrote them
	Decisions []Decision `json:"decisions,omitempty"`

	// The messages, decoded and masked; absent where nobody asked for them.
	Request  json.RawMessage `json:"request,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`

	Lost int64 `json:"lost,omitempty"` // how many
}

// Client is a process at the other end of the shim's socket; -1 is what the system does
// not know.
type Client struct {
	Process int    `json:"process"`
	User    int    `json:"user"`
	Name    string `json:"name,omitempty"` // of its program
}

// Decision is what the shim made of an image's name in a call.
type Decision struct {
	Asked    string `json:"asked"`
	Served   string `json:"served,omitempty"`   // the reference or ID that the runtime answered for
	Registry string `json:"registry,omitempty"` // that serves it
	Reason   string `json:"reason,omitempty"`
	Names    string `json:"names,omitempty"` // where the asked name of a pulled image is kept: runtime or ledger
}

// Call is a call that begins.
type Call struct {
	ID     uint64
	Client Client // its name is not needed
	Method string
	Start  time.Time
}

// Ending is how a call has ended.
type Ending struct {
	Duration      time.Duration
	Code          codes.Code
	Err           error // nil where Code is OK
	RequestBytes  int64
	ResponseBytes int64
}

// shortMethod is a method's name for people: the CRI's without its package and service,
// any other with its service.
func shortMethod(method string) string {
	for _, v := range versions {
		if rest, ok := strings.CutPrefix(method, "/"+v.name+"."); ok {
			if _, name, ok := strings.Cut(rest, "/"); ok {
				return v.mark + name
			}
		}
	}
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok {
		return method
	}
	return service[strings.LastIndex(service, ".")+1:] + "/" + name
}
