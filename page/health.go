package page

import (
	"fmt"
	"strings"
	"time"
)

// Level is the severity of a problem.
type Level string

const (
	ok      Level = "ok"
	warning Level = "warning" // most or all pods can start
	failing Level = "failure" // no pod can start
)

// health is the page's headline and the problems found.
type health struct {
	Level    Level     `json:"level"`
	Summary  string    `json:"summary"`
	Problems []problem `json:"problems"` // the most severe first
}

type problem struct {
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	Section string `json:"section"` // ID of the page's section with details
}

// inRuntime is the [Naming] mode in which the runtime keeps the names.
const inRuntime = "runtime"

// failureWindow is the time for which a failed decision is a problem.
const failureWindow = 15 * time.Minute

// diagnose returns the current problems. decisions must be sorted, the newest first.
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
		add(failing, "configuration", "The runtime at %s does not answer: %s", service.Runtime, service.RuntimeError)
	case service.NotServing != "":
		add(failing, "configuration", "Clients can't connect to %s: %s", service.Socket, service.NotServing)
	}
	if service.ConfigError != "" {
		add(warning, "configuration", "Reloading the configuration failed, the last good configuration stays in force: %s", service.ConfigError)
	}
	if len(service.RestartKeys) > 0 {
		add(warning, "configuration", "Changed keys take effect after a restart of the shim: %s", strings.Join(service.RestartKeys, ", "))
	}
	if service.Names.Mode == inRuntime && service.Names.Ledger > 0 {
		add(warning, "ledger", "Names of pulled images that are in the ledger but not yet in the runtime: %d", service.Names.Ledger)
	}
	if service.Names.Repairs > 0 {
		add(warning, "ledger", "Names from some repositories (%d) could not be changed in the runtime; the shim retries. Until then, other clients see the registries' names", service.Names.Repairs)
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
	count := fmt.Sprintf("%d problems", len(h.Problems))
	if len(h.Problems) == 1 {
		count = "1 problem"
	}
	switch h.Level {
	case failing:
		return "Pods can't start: " + count
	case warning:
		return count
	}
	return "No problems: the runtime answers, no registry is known to be down, no unresolved failures in the last 15 minutes"
}

func failureText(n int) string {
	if n == 1 {
		return "A request failed in the last 15 minutes"
	}
	return fmt.Sprintf("%d requests failed in the last 15 minutes, the last one", n)
}

// unresolvedFailures returns the recent failed decisions, except those followed by another
// decision with the same method and name.
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
