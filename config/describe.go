package config

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// mask replaces a password. Its length is always the same.
const mask = "********"

// Describe writes a description of the configuration for people, with registries in the order
// of their priority and passwords masked. It calls w.Write once and returns its error.
func (c *Config) Describe(w io.Writer) error {
	var buffer bytes.Buffer
	table := tabwriter.NewWriter(&buffer, 0, 0, 2, ' ', 0)
	c.describeService(table)
	c.describeRegistries(table)
	_ = table.Flush() // a buffer takes everything
	for i, warning := range c.Warnings {
		if i == 0 {
			fmt.Fprintln(&buffer, "\nwarnings")
		}
		fmt.Fprintf(&buffer, "  %s\n", warning)
	}
	_, err := w.Write(buffer.Bytes())
	return err
}

func (c *Config) describeService(w io.Writer) {
	start := "when the runtime answers"
	if c.Force {
		start = "at once, before the runtime answers"
	}
	logging := "one line per pull, per removal by name, and per container whose image is looked up"
	if c.Debug {
		logging = "one line per call (debug)"
	}
	for _, line := range [][2]string{
		{"socket", c.Shim},
		{"runtime", cmp.Or(c.Runtime, "detected at start: containerd, CRI-O, cri-dockerd")},
		{"serving", start},
		{"engine", c.Engine},
		{"names", c.describeNames()},
		{"log", logging},
		{"metrics", c.describeMetrics()},
		{"pull", fmt.Sprintf("at most %s before the last attempt, %s per registry lookup", ShortDuration(c.Timeout), ShortDuration(c.LookupTimeout))},
		{"fallback", c.describeFallback()},
		{"restart", fmt.Sprintf("running calls have %s to end", ShortDuration(c.Drain))},
		{"reload", fmt.Sprintf("when this file changes, and every %s", ShortDuration(c.ReloadInterval))},
		{"state", c.StateDirectory},
		{"cache", c.Cache.describe()},
		{"trace", c.describeTrace()},
	} {
		fmt.Fprintf(w, "%s\t%s\n", line[0], line[1])
	}
}

func (c *Config) describeNames() string {
	if c.Names == NamesLedger {
		return "requested names of pulled images are kept in the shim's ledger and restored in answers"
	}
	return "requested names of pulled images are kept in the runtime if it can keep them (containerd), otherwise in the shim's ledger"
}

func (c *Config) describeRegistries(w io.Writer) {
	if len(c.Registries) == 0 {
		fmt.Fprint(w, "registries\tnone, the shim only forwards calls\n")
		return
	}
	fmt.Fprint(w, "\nregistries, the preferred one first\n")
	for i, registry := range c.preferredFirst() {
		role := ""
		if registry.Main {
			role = ", the main one"
		}
		fmt.Fprintf(w, "%d. %s%s\n", i+1, registry.Address, role)
		for _, line := range [][2]string{
			{"priority", fmt.Sprint(registry.Priority)},
			{"login", registry.describeLogin()},
			{"images", registry.describeImages()},
			{"tags", strings.Join(registry.Tags, ", ")},
			{"fallback", registry.Fallback},
			{"path", registry.Path},
			{"TLS", registry.describeTLS()},
		} {
			if line[1] != "" {
				fmt.Fprintf(w, "   %s\t%s\n", line[0], line[1])
			}
		}
	}
}

func (c *Config) preferredFirst() []Registry {
	ordered := slices.Clone(c.Registries)
	slices.SortStableFunc(ordered, func(a, b Registry) int { return cmp.Compare(b.Priority, a.Priority) })
	return ordered
}

func (c Cache) describe() string {
	if c.ImageCacheSize < 0 {
		return "none: the registries are asked at every pull"
	}
	return fmt.Sprintf("%d answers, found for %s, absent for %s", c.ImageCacheSize, ShortDuration(c.ImageCacheTTL), ShortDuration(c.AbsentTTL))
}

func (c *Config) describeTrace() string {
	if c.TraceBuffer == 0 {
		return "no calls are kept for --since (traceBuffer: 0)"
	}
	return formatSize(c.TraceBuffer) + " of finished calls are kept for --since"
}

func (c *Config) describeMetrics() string {
	switch {
	case c.Metrics == "":
		return "none"
	case c.PProf:
		return c.Metrics + ", with profiles"
	}
	return c.Metrics
}

func (c *Config) describeFallback() string {
	if c.Fallback == FallbackNever {
		return "never: an image that no registry serves is not pulled"
	}
	return "to the registry in the image's name"
}

func (r Registry) describeLogin() string {
	if r.AuthFile != "" {
		return "from " + r.AuthFile
	}
	if r.Username == "" {
		return "none"
	}
	if r.Password == "" {
		return r.Username + ", without a password"
	}
	return fmt.Sprintf("%s, password %s", r.Username, mask)
}

func (r Registry) describeTLS() string {
	switch {
	case strings.HasPrefix(r.Address, "http://"):
		return "none (http)"
	case r.InsecureSkipVerify:
		return "NOT verified"
	case r.CA != "":
		return "verified with " + r.CA
	}
	return "verified with the system's certificates"
}

// ShortDuration formats a duration without zero minutes and seconds: 15m, not 15m0s.
func ShortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
