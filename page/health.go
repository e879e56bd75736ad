package page

import (
	"fmt"
	"strings"
	"time"
)

// Level says how bad something is.
type Level string

const (
	ok      Level = "ok"
	warning Level = "warning" // something is not as it should be, and pods start nevertheless, or most
	failing Level = "failure" // no pod can start
)

// health is the page's headline and the problems found.
type health struct {
	Level    Level     `json:"level"`
	Summary  string    `json:"summary"`
	Problems []problem `json:"problems"` // the worst first
}

type problem struct {
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	Section string `json:"section"` // of the page, with details
}

// inRuntime is the mode of a [Naming] with a runtime that keeps the names.
const inRuntime = "runtime"

// failureWindow is how long a failed decision counts as a problem.
const failureWindow = 15 * time.Minute

// diagnose returns the current problems. The decisions are sorted, the newest first.
func diagnose(now time.Time, service Service, registries []Registry, decisions []numberedDecision) health {
	h := health{Level: ok, Problems: []problem{}}
	add := func(level Level, section, text string, values ...any) {
		if len(h.Problems) == 0 {
			h.Level = level
		}
		h.Problems = append(h.Problems, problem{level, fmt.Sprintf(text, values...), section})
	}
	switch {
	case service.RuntimeError != "":
		add(failing, "configuration", "The runtime does not answer at %s: %s", service.Runtime, service.RuntimeError)
	case service.NotServing != "":
		add(failing, "configuration", "Clients can't connect to %s: %s", service.Socket, service.NotServing)
	}
	if service.ConfigError != "" {
		add(warning, "configuration", "The configuration was changed and can't be used, the last good one stays: %s", service.ConfigError)
	}
	if len(service.RestartKeys) > 0 {
		add(warning, "configuration", "The shim runs with the former values of these keys, which take effect after a restart: %s", strings.Join(service.RestartKeys, ", "))
	}
	if service.Names.Mode == inRuntime && service.Names.Ledger > 0 {
		add(warning, "ledger", "The runtime lacks names of pulled images, which only the ledger has: %d", service.Names.Ledger)
	}
	if service.Names.Repairs > 0 {
		add(warning, "ledger", "Changing names in the runtime has failed and is retried, other clients see a registry's names of images: repositories: %d", service.Names.Repairs)
	}
	for _, r := range registries {
		if r.State == Down || r.State == SlowInPart {
			add(warning, "registries", "The registry %s is %s: %s", r.Address, r.State, r.Reason)
		}
	}
	if failed := unresolvedFailures(now, decisions); len(failed) > 0 {
		last := failed[0]
		add(warning, "decisions", "%s: %s of %s: %s", failureText(len(failed)), last.Method, last.Asked, clip(last.Error, 200))
	}
	h.Summary = headline(h)
	return h
}

func headline(h health) string {
	text := map[Level]string{
		ok:      "All is well: the runtime answers, no registry is known to be down, nothing has failed in the last 15 minutes",
		warning: "Not all is well",
		failing: "Pods can't start",
	}[h.Level]
	if n := len(h.Problems); n > 1 {
		text += fmt.Sprintf(": %d problems", n)
	}
	return text
}

func failureText(n int) string {
	if n == 1 {
		return "A request has failed in the last 15 minutes"
	}
	return fmt.Sprintf("%d requests have failed in the last 15 minutes, the last one", n)
}

// unresolvedFailures returns recent failed decisions, except those followed by another
// decision of the same method and name.
func unresolvedFailures(now time.Time, decisions []numberedDecision) []numberedDecision {
	var failed []numberedDecision
	seen := make(map[[2]string]bool)
	for _, d := range decisions {
		key := [2]string{d.Method, d.Asked}
		if d.Error != "" && !seen[key] && now.Sub(d.At) < failureWindow {
			failed = append(failed, d)
		}
		seen[key] = true
	}
	return failed
}
