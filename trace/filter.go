package trace

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Filter selects the events that match all of its non-empty fields. A field with several
// values matches if one of the values does.
type Filter struct {
	Methods []string      // names, "PullImage" or full, or patterns with * and ?
	Pods    []string      // "name" or "namespace/name", or patterns
	Images  []string      // substrings of an image's name, as requested or as served
	Errors  bool          // only failed calls
	Slower  time.Duration // only calls that took longer; 0 for all calls
}

// Check returns an error if a pattern is malformed or the duration negative.
func (f Filter) Check() error {
	for _, pattern := range slices.Concat(f.Methods, f.Pods) {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	if f.Slower < 0 {
		return fmt.Errorf("found duration %s, expected at least 0s", f.Slower)
	}
	return nil
}

// Match reports whether an event matches. Lost events always do.
func (f Filter) Match(e *Event) bool {
	switch {
	case e.Kind == KindLost:
		return true
	case f.Errors && (e.Kind != KindCall || e.Code == codes.OK.String()):
		return false
	case f.Slower > 0 && (e.Kind != KindCall || e.Seconds <= f.Slower.Seconds()):
		return false
	}
	return matchesAny(f.Methods, func(pattern string) bool { return matchesMethod(pattern, e.Method) }) &&
		matchesAny(f.Pods, func(pattern string) bool { return matchesPod(pattern, e.Pod) }) &&
		matchesAny(f.Images, func(part string) bool { return matchesImage(part, e) })
}

// matchesAny reports whether match accepts one of patterns, or patterns is empty.
func matchesAny(patterns []string, match func(string) bool) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, match)
}

func matchesMethod(pattern, method string) bool {
	return matchesPattern(pattern, path.Base(method)) || matchesPattern(pattern, shortMethod(method)) ||
		matchesPattern(strings.TrimPrefix(pattern, "/"), strings.TrimPrefix(method, "/"))
}

func matchesPod(pattern, pod string) bool {
	return matchesPattern(pattern, pod) || pod != "" && matchesPattern(pattern, path.Base(pod))
}

func matchesImage(part string, e *Event) bool {
	contains := func(name string) bool { return strings.Contains(strings.ToLower(name), strings.ToLower(part)) }
	return slices.ContainsFunc(e.Images, contains) || slices.ContainsFunc(e.Decisions, func(d Decision) bool {
		return contains(d.Asked) || contains(d.Served)
	})
}

func matchesPattern(pattern, name string) bool {
	ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return ok
}

// Values returns the filter as URL query values for [ParseFilter].
func (f Filter) Values() url.Values {
	values := url.Values{"method": f.Methods, "pod": f.Pods, "image": f.Images}
	if f.Errors {
		values.Set("errors", "true")
	}
	if f.Slower > 0 {
		values.Set("slower-than", f.Slower.String())
	}
	return values
}

// ParseFilter parses the result of [Filter.Values].
func ParseFilter(values url.Values) (Filter, error) {
	f := Filter{Methods: values["method"], Pods: values["pod"], Images: values["image"], Errors: values.Get("errors") == "true"}
	if slower := values.Get("slower-than"); slower != "" {
		var err error
		if f.Slower, err = time.ParseDuration(slower); err != nil {
			return f, fmt.Errorf("slower-than: %w", err)
		}
	}
	return f, f.Check()
}
