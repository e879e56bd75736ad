package main

import (
	"fmt"
	"strings"
)

// targetResult is a target of the shim with its measured figure.
type targetResult struct {
	Contender string
	What      string
	Target    string
	Measured  spread
	Met       string // "met", "missed", or why it could not be judged
}

// growthLimit is the ratio up to which a figure counts as not growing. It allows for the
// variation of a machine that is not idle.
const growthLimit = 1.1

// judgeTargets judges each configuration of the shim by the medians.
func judgeTargets(r *results) []targetResult {
	var all []targetResult
	for _, p := range r.Programs {
		if strings.HasPrefix(p.Contender, "shim") {
			all = append(all, judgeProgram(r, p)...)
		}
	}
	return all
}

func judgeProgram(r *results, p *figures) []targetResult {
	c := p.Contender
	one, many := r.table("Version, one"), r.table("Version, 32")
	large, larger := r.table("ListContainers of 8 MiB, one"), r.table("ListContainers of 8 MiB, 4")
	var all []targetResult
	add := func(what string, measured spread, limit float64, unit string, atLeast bool) {
		v := targetResult{Contender: c, What: what, Measured: measured}
		relation, met := "at most", measured.Median <= limit
		if atLeast {
			relation, met = "at least", measured.Median >= limit
		}
		v.Target = strings.TrimSpace(fmt.Sprintf("%s %s %s", relation, number(limit), unit))
		switch {
		case p.Missing != "":
			v.Met = p.Missing
		case measured.Rounds == 0:
			v.Met = "not measured"
		case met:
			v.Met = "met"
		default:
			v.Met = "missed"
		}
		all = append(all, v)
	}
	add("Version one at a time: added p50 to the relay's", one.addedRatio(c, "relay"), 1.3, "", false)
	add("Version one at a time: added p50 to haproxy's", one.addedRatio(c, "haproxy"), 1, "", false)
	add("Version 32 at once: throughput to the relay's", many.throughput(c, "relay"), 0.95, "", true)
	add("8 MiB one at a time: throughput to the relay's", large.throughput(c, "relay"), 0.95, "", true)
	add("8 MiB 4 at once: throughput to the relay's", larger.throughput(c, "relay"), 0.95, "", true)
	for _, message := range []string{"8 MiB", "16 MiB"} {
		add("memory per connection while "+message+" pass over each", p.LargeMessages[message], 1, "MiB", false)
	}
	for _, t := range r.Tables {
		if t.hasOpaque {
			add(t.Name+": p50 to that of an opaque call of its size", t.of(c).OpaqueRatio, 1.03, "", false)
		}
	}
	pull := r.table("PullImage").added(c, func(s sample) float64 { return s.P50 / 1000 })
	add("PullImage of what the registry has: added p50", pull, 20, "ms", false)
	add("idle resident memory", p.Idle, 20, "MiB", false)
	add("start to first answered call", p.Start, 100, "ms", false)
	add("binary", spreadOf([]float64{p.Binary}), 30, "MB", false)
	if p.LongRun != nil {
		calls := fmt.Sprintf("%s calls: ", thousands(p.LongRun.Calls))
		add(calls+"p50 after them to that after a twentieth", p.LongRun.Time, growthLimit, "", false)
		add(calls+"resident memory of the second half to the first", spreadOf([]float64{p.LongRun.Memory}), growthLimit, "", false)
	}
	if p.Connections != nil {
		open := fmt.Sprintf("%s open connections: ", thousands(p.Connections.Connections))
		add(open+"p50 with them to without", p.Connections.Time, growthLimit, "", false)
		add(open+"resident memory for each", spreadOf([]float64{p.Connections.PerConnection / 1024}), 1, "MiB", false)
	}
	return all
}
