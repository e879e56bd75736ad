package doctor

import (
	"fmt"
	"slices"
	"strings"
)

// consequences are the consequences of a failed check for the node, the gravest first.
var consequences = []consequence{
	{"runtime", "pulls fail: the runtime does not answer"},
	{"shim", "pulls fail: the shim does not answer"},
	{"configuration", "the shim can't start with this configuration; a running shim keeps its last good one"},
	{"running shim", "the running shim is not the one that this report is about"},
	{"kubelet", "kubelet pulls without the shim"},
	{"fallback", "pulls fail: no registry has the images of this node"},
	{"original", "new pulls fail: no registry has the images, and the original one can't be reached"},
	{"sandbox image", "new pods do not start: the runtime can't get the sandbox image"},
	{"state", "names of images are lost when the shim restarts"},
	{"ledger", "names of images are lost when the shim restarts"},
	{"permissions", "every user can change where images come from"},
}

// lastGood is the consequence of a file that a running shim can't use.
const lastGood = "pulls go on with the last good configuration, but the shim can't start again with this file"

type consequence struct{ check, text string }

// verdict returns the consequence of all findings in one line. Each check that depends on a
// failed one has no finding, so each failure is a cause.
func verdict(findings []Finding) string {
	var parts []string
	add := func(text string) {
		if len(parts) > 0 {
			text = strings.TrimPrefix(text, "pulls fail: ") // once is enough
		}
		if !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	consequenceOf := func(c consequence) string {
		for _, f := range findings {
			if f.Level == Fail && f.Check == c.check && f.consequence != "" {
				return f.consequence
			}
		}
		return c.text
	}
	has := func(check string, level Level) bool {
		return slices.ContainsFunc(findings, func(f Finding) bool { return f.Level == level && f.Check == check })
	}
	refused := slices.ContainsFunc(findings, func(f Finding) bool {
		return f.Level == Fail && f.Check == "running shim" && strings.HasPrefix(f.Text, refusedText)
	})
	if has("configuration", Fail) && has("running shim", OK) {
		return lastGood
	}
	for _, c := range consequences {
		switch {
		case c.check == "shim" && has("shim", Fail) && has("kubelet", Fail):
			add(strings.TrimPrefix(consequenceOf(c), "pulls fail: ")) // pulls do not need it
		case c.check == "running shim" && refused:
			add(lastGood)
		case has(c.check, Fail):
			add(consequenceOf(c))
		}
	}
	warnings, others := 0, 0
	var registries []string
	for _, f := range findings {
		switch {
		case f.Level == Warn:
			warnings++
		case f.Level == OK || slices.ContainsFunc(consequences, func(c consequence) bool { return c.check == f.Check }):
		case !strings.Contains(f.Subject, "://"):
			others++
		case !slices.Contains(registries, f.Subject):
			registries = append(registries, f.Subject)
		}
	}
	if len(registries) > 0 {
		add("pulls from " + strings.Join(registries, ", ") + " fail")
	}
	if others > 0 {
		add(fmt.Sprintf("other failures: %d", others))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case warnings == 1:
		return "this node works, with one warning"
	case warnings > 1:
		return fmt.Sprintf("this node works, with %d warnings", warnings)
	}
	return "no problem found on this node; for one image: image-cri-shim resolve IMAGE"
}
