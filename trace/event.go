package trace

import (
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"image-cri-shim/trace/redact"
)

// The kinds of events.
const (
	KindCall    = "call"    // a finished call
	KindMessage = "message" // a message of a stream from the runtime
	KindLost    = "lost"    // events dropped because the reader was too slow
)

// Event is a line of a trace.
type Event struct {
	Version int       `json:"version"` // of the format, set by encode
	Kind    string    `json:"kind"`
	Time    time.Time `json:"time"` // when the call started, the message passed or the loss was reported

	ID     uint64  `json:"id,omitempty"` // of the call, counted from the start of the shim
	Client *Client `json:"client,omitempty"`
	Method string  `json:"method,omitempty"` // full name, "/runtime.v1.RuntimeService/Version"

	Seconds       float64 `json:"seconds,omitempty"`
	Code          string  `json:"code,omitempty"`
	Error         string  `json:"error,omitempty"`
	RequestBytes  int64   `json:"requestBytes,omitempty"`
	ResponseBytes int64   `json:"responseBytes,omitempty"` // of a message event, the size of the message

	Pod       string     `json:"pod,omitempty"` // namespace/name
	Container string     `json:"container,omitempty"`
	Images    []string   `json:"images,omitempty"` // as the client sent them
	Decisions []Decision `json:"decisions,omitempty"`

	// The messages, decoded and masked, if the reader wants messages.
	Request  json.RawMessage `json:"request,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`

	Lost int64 `json:"lost,omitempty"` // number of lost events
}

// Client is a process connected to the shim's socket. Unknown IDs are -1.
type Client struct {
	Process int    `json:"process"`
	User    int    `json:"user"`
	Name    string `json:"name,omitempty"` // name of the program
}

// Decision describes how the shim resolved an image name in a call.
type Decision struct {
	Asked    string `json:"asked"`
	Served   string `json:"served,omitempty"`   // the reference or ID that the runtime answered for
	Registry string `json:"registry,omitempty"` // the registry that serves the image
	Reason   string `json:"reason,omitempty"`
	Names    string `json:"names,omitempty"` // where the requested name of a pulled image is kept: runtime or ledger

	// Namespace and Pod name the pod for which an image was pulled.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
}

// addDecisions adds decisions with secrets masked. If the event has no pod, it gets theirs.
func (e *Event) addDecisions(decisions []Decision) {
	for _, d := range decisions {
		masked := Decision{
			Asked: truncate(redact.Field(d.Asked)), Served: truncate(redact.Field(d.Served)), Registry: truncate(redact.Field(d.Registry)),
			Reason: truncate(redact.FreeText(d.Reason)), Names: d.Names,
			Namespace: truncate(redact.Field(d.Namespace)), Pod: truncate(redact.Field(d.Pod)),
		}
		if e.Pod == "" && masked.Pod != "" {
			e.Pod = masked.Namespace + "/" + masked.Pod
		}
		e.Decisions = append(e.Decisions, masked)
	}
}

// Call is a call that has started.
type Call struct {
	ID     uint64
	Client Client // Name may be empty
	Method string
	Start  time.Time
}

// Result is the result of a finished call.
type Result struct {
	Duration      time.Duration
	Code          codes.Code
	Err           error // nil if Code is OK
	RequestBytes  int64
	ResponseBytes int64
}

// shortMethod returns a method's name for display: Version for the CRI's methods,
// Service/Method for others.
func shortMethod(method string) string {
	for _, v := range versions {
		if rest, ok := strings.CutPrefix(method, "/"+v.name+"."); ok {
			if _, name, ok := strings.Cut(rest, "/"); ok {
				return v.prefix + name
			}
		}
	}
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok {
		return method
	}
	return service[strings.LastIndex(service, ".")+1:] + "/" + name
}
