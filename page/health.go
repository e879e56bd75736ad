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

// health is what there is to say in one line, and what is wrong.
type health struct {
	Level    Level     `json:"level"`
	Summary  string    `json:"summary"`
	Problems []problem `json:"problems"` // the worst first
}

type problem struct {
	Level   Level  `json:"level"`
	Text    string `json:"text"`
	Section string `json:"section"` // of the page, that says more
}

// inRuntime is the mode of a [Naming] with a runtime that keeps the names.
const inRuntime = "runtime"

// recent is how long a failed decision is worth a word.
const recent = 15 * time.Minute

// judge finds what is wrong. The decisions are the newest first.
func judge(now time.Time, service Service, registries []Registry, decisions []made) health {
	h := health{Level: ok, Problems: []problem{}}
	add := func(level Level, section, text string, values ...any) {
		if len(h.Problems) == 0 {
			h.Level = level
		}
		h.Problems = append(h.Problems, problem{level, fmt.Sprintf(text, values...), section})
	}
	switch {
	case service.Away != "":
		add(failing, "configuration", "The runtime does not answer at %s: %s", service.Runtime, service.Away)
	case service.Closed != "":
		add(failing, "configuration", "Clients can't connect to %s: %s", service.Socket, service.Closed)
	}
	if service.Refused != "" {
		add(warning, "configuration", "The configuration was changed and can't be used, the last good one stays: %s", service.Refused)
	}
	if len(service.Restart) > 0 {
		add(warning, "configuration", "The shim runs with the former values of these keys, which take effect after a restart: %s", strings.Join(service.Restart, ", "))
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
	if failed := unsettled(now, decisions); len(failed) > 0 {
		last := failed[0]
		add(warning, "decisions", "%s: %s of %s: %s", failures(len(failed)), last.Method, last.Asked, clip(last.Error, 200))
	}
	h.Summary = summary(h)
	return h
}

func summary(h health) string {
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

func failures(n int) string {
	if n == 1 {
		return "A request has failed in the last 15 minutes"
	}
	return fmt.Sprintf("%d requests have failed in the last 15 minutes, the last one", n)
}

// unsettled are the recent failures that no success of the same method and name followed.
func unsettled(now time.Time, decisions []made) []made {
	var failed []made
	settled := make(map[[2]string]bool)
	for _, d := range decisions {
		what := [2]string{d.Method, d.Asked}
		if d.Error != "" && !settled[what] && now.Sub(d.At) < recent {
			failed = append(failed, d)
		}
		settled[what] = true
	}
	return failed
}
