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
	note    Level = "note"    // nothing on this node is wrong
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
	// Image has the details of a failing image.
	Image *failingImage `json:"image,omitempty"`
}

// inRuntime is the [Naming] mode in which the runtime keeps the names.
const inRuntime = "runtime"

// diagnose returns the current problems. decisions must be sorted, the newest first.
func diagnose(now time.Time, service Service, registries []Registry, decisions []numberedDecision) health {
	h := health{Level: ok, Problems: []problem{}}
	add := func(level Level, section, text string, values ...any) {
		h.Problems = append(h.Problems, problem{Level: level, Text: fmt.Sprintf(text, values...), Section: section})
	}
	switch {
	case service.RuntimeError != "":
		add(failing, "configuration", "The runtime at %s does not answer: %s", service.Runtime, service.RuntimeError)
	case service.NotServing != "":
		add(failing, "configuration", "Clients can't connect to %s: %s", service.Socket, service.NotServing)
	}
	images, absent := failingImages(now, decisions)
	h.Problems = append(h.Problems, imageProblems(warning, images)...)
	for _, r := range registries {
		if r.State == Down || r.State == SlowInPart {
			add(warning, "registries", "The registry %s is %s: %s", r.Address, r.State, r.Reason)
		}
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
	if len(h.Problems) > 0 {
		h.Level = h.Problems[0].Level
	}
	h.Summary = headline(h.Level, len(h.Problems), len(absent))
	h.Problems = append(h.Problems, imageProblems(note, absent)...)
	return h
}

// headline returns the text for a number of problems, and of images that no registry has.
func headline(level Level, problems, absent int) string {
	count := fmt.Sprintf("%d problems", problems)
	if problems == 1 {
		count = "1 problem"
	}
	switch {
	case level == failing:
		return "Pods can't start: " + count
	case level == warning:
		return count
	case absent > 0:
		return fmt.Sprintf("No problems of this node, but requests for images that no registry has: %d", absent)
	}
	return "No problems: the runtime answers, no registry is known to be down, no unresolved failures in the last 15 minutes"
}
