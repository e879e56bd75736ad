package foreign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// plan is the list of a client's calls. The clients in Python and JavaScript read the same
// format, as JSON.
type plan struct {
	Socket      string         `json:"socket"`
	Compression string         `json:"compression,omitempty"` // of the requests: gzip, deflate or none
	Options     map[string]any `json:"options,omitempty"`     // channel arguments, by gRPC's own names
	Groups      []group        `json:"groups"`
}

// group is a list of calls that are started in order, up to Concurrency at a time. Groups run
// one after another on one connection.
type group struct {
	Name        string `json:"name"`
	Concurrency int    `json:"concurrency,omitempty"` // 0 means 1
	Calls       []call `json:"calls"`
}

// call is one call of a client.
type call struct {
	Name        string      `json:"name"`
	Method      string      `json:"method"`
	Kind        string      `json:"kind,omitempty"` // unary, client, server or bidi
	Requests    [][]byte    `json:"requests"`
	Repeat      int         `json:"repeat,omitempty"`      // number of times the requests are sent
	Metadata    [][2]string `json:"metadata,omitempty"`    // values of binary keys are in base64
	Timeout     int         `json:"timeout"`               // in milliseconds
	Cancel      int         `json:"cancel,omitempty"`      // cancel after this number of milliseconds
	CancelAfter int         `json:"cancelAfter,omitempty"` // cancel after this number of answers
	Wait        bool        `json:"wait,omitempty"`        // wait for a connection (gRPC's wait for ready)
}

// result is a call as seen by the client.
type result struct {
	Name     string      `json:"name"`
	Code     codes.Code  `json:"code"`
	Message  string      `json:"message"`
	Answers  []string    `json:"answers"`
	Headers  [][2]string `json:"headers"`
	Trailers [][2]string `json:"trailers"`
	Elapsed  int         `json:"elapsed"` // in milliseconds
}

// essence returns the parts of a result that must be equal on every path.
func (r result) essence() string {
	switch r.Code {
	case codes.Canceled, codes.DeadlineExceeded:
		// The client and the server end such a call at the same time. It depends on timing how
		// much of an answer arrives and whose status the client gets.
		if strings.HasSuffix(r.Name, "deadline") && r.Elapsed >= deadline/2 {
			// A grpc-go server resets the stream, which other clients report as Canceled. Timers
			// of Node.js start at the beginning of a turn of its event loop, so they fire tens of
			// milliseconds early if the turn is long.
			return r.Name + ": ended by its deadline"
		}
		return fmt.Sprintf("%s: %v", r.Name, r.Code)
	case codes.OK:
		r.Message = "" // meaningless: grpc-js servers send one, grpc-go drops it
	}
	return fmt.Sprintf("%s: %v %q, headers %v, trailers %v, answers %q", r.Name, r.Code, r.Message, sorted(r.Headers), sorted(r.Trailers), r.Answers)
}

// String returns a short form for a test's log.
func (r result) String() string {
	answers := make([]string, min(len(r.Answers), 3))
	for i := range answers {
		answers[i] = fmt.Sprintf("%.90s", r.Answers[i])
	}
	return fmt.Sprintf("%s: %v %q after %d ms, headers %v, trailers %v, %d answers: %q", r.Name, r.Code, r.Message, r.Elapsed, sorted(r.Headers), sorted(r.Trailers), len(r.Answers), answers)
}

// sorted sorts metadata by key. The order of the values of one key matters, the order of keys
// does not.
func sorted(metadata [][2]string) [][2]string {
	metadata = slices.Clone(metadata)
	slices.SortStableFunc(metadata, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	return metadata
}

// clients are the gRPC libraries of the clients that run plans.
var clients = []string{"grpcio", "grpc-js"}

// command returns the command that runs the plan with a library.
func (p plan) command(t *testing.T, library string) []string {
	t.Helper()
	for _, group := range p.Groups {
		for i := range group.Calls {
			if group.Calls[i].Timeout == 0 {
				group.Calls[i].Timeout = 20_000 // a hanging call fails
			}
		}
	}
	file := writeJSON(t, p)
	if library == "grpcio" {
		return []string{needPython(t), "python/client.py", file}
	}
	return []string{needNode(t), "node/client.js", file}
}

// start starts a client that runs the plan.
func (p plan) start(t *testing.T, library string) *process {
	t.Helper()
	command := p.command(t, library)
	return startProcess(t, command[0], command[1:]...)
}

// make runs the plan with a client and returns the results.
func (p plan) make(t *testing.T, library string) []result {
	t.Helper()
	return p.start(t, library).results(t)
}

// results waits for the results of a client.
func (p *process) results(t *testing.T) []result {
	t.Helper()
	var results []result
	if err := json.Unmarshal(p.wait(t, 100*time.Second), &results); err != nil {
		t.Fatalf("read the client's results: %v", err)
	}
	return results
}

// wantSame requires the same results, in any order.
func wantSame(t *testing.T, got, want []result) {
	t.Helper()
	counts := make(map[string]int)
	examples := make(map[string]result)
	for _, r := range want {
		counts[r.essence()]++
		examples[r.essence()] = r
	}
	for _, r := range got {
		counts[r.essence()]--
		examples[r.essence()] = r
	}
	var differences []string
	for essence, count := range counts {
		if count > 0 {
			differences = append(differences, fmt.Sprintf("%v\n   directly only, %d times", examples[essence], count))
		} else if count < 0 {
			differences = append(differences, fmt.Sprintf("%v\n   through the shim only, %d times", examples[essence], -count))
		}
	}
	slices.Sort(differences)
	if len(differences) > 0 {
		t.Errorf("%d differences:\n%s", len(differences), strings.Join(differences[:min(len(differences), 40)], "\n"))
	}
}

// wantOK requires that calls succeeded.
func wantOK(t *testing.T, results []result) {
	t.Helper()
	for _, r := range results {
		if r.Code != codes.OK {
			t.Error(r)
		}
	}
}
