package status

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteText writes the status as text, one fact a line.
func (s Status) WriteText(w io.Writer, now time.Time) error {
	var b strings.Builder
	line := func(name, format string, values ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", name, fmt.Sprintf(format, values...))
	}
	if err := s.CheckReady(now); err != nil {
		line("ready", "no: %v", err)
	} else {
		line("ready", "yes")
	}
	line("state", "%s", s.StateAt(now))
	line("agent", "%s (process %d, command %s), status of %s", s.Version, s.Process, s.Command, at(s.Updated, now))
	switch {
	case s.Removed:
		line("shim", "removed")
	case s.Serving != "":
		line("shim", "%s", s.Serving)
	default:
		line("shim", "does not answer")
	}
	if s.Hash != "" {
		line("requested", "configuration %s", Short(s.Hash))
	}
	if s.Applied != nil {
		line("applied", "configuration %s, version %s, %s", Short(s.Applied.Hash), s.Applied.Version, at(s.Applied.Time, now))
	} else if !s.Removed {
		line("applied", "none")
	}
	if !s.Removed {
		connected := "not connected through the shim"
		if s.KubeletConnected {
			connected = "connected through the shim"
		}
		line("kubelet", "%s, restarts by the agent within an hour: %d of %d", connected, s.KubeletRestarts, MaxKubeletRestarts)
	}
	if l := s.LookUp; l != nil {
		for _, r := range l.Unreachable {
			line("registry", "%s could not be used by configuration %s at %s: %s", r.Address, Short(l.Hash), at(l.Time, now), r.Reason)
		}
	}
	if s.Step != "" {
		line("in progress", "%s", s.Step)
	}
	if s.Drift != nil {
		times := "times"
		if s.Drift.Count == 1 {
			times = "time"
		}
		line("drift", "mended %d %s, last %s: %s", s.Drift.Count, times, at(s.Drift.Time, now), strings.Join(s.Drift.Found, "; "))
	}
	if f := s.Failure; f != nil {
		line("last failure", "%s, %s: %s", at(f.Time, now), f.Step, f.Reason)
		next := "at the next check of the node"
		if !f.Next.IsZero() {
			next = f.Next.UTC().Format(time.RFC3339)
		}
		line("next attempt", "%s", next)
	}
	for _, failure := range s.Doctor {
		line("doctor", "%s", failure)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// at returns a time and its distance from now.
func at(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), now.Sub(t).Round(time.Second))
}

// Short returns the beginning of a hash.
func Short(hash string) string {
	return hash[:min(12, len(hash))]
}
