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

// Filter says which events are of interest: those that fit each of its fields that is
// set. Where a field has several values one must fit.
type Filter struct {
	Methods []string // names, "PullImage" or full, or patterns with * and ?
	Pods    []string // "name" or "namespace/name", or patterns
	Images  []string // parts of an image's name, as it was asked for or served
	Errors  bool     // calls that have failed
	Slower  time.Duration
}

// Check tells of patterns that can't fit anything.
func (f Filter) Check() error {
	for _, pattern := range slices.Concat(f.Methods, f.Pods) {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("found the pattern %q: %w", pattern, err)
		}
	}
	if f.Slower < 0 {
		return fmt.Errorf("found the duration %s, expected one that is not negative", f.Slower)
	}
	return nil
}

// Match tells whether an event fits. The news of a loss always does.
func (f Filter) Match(e *Event) bool {
	switch {
	case e.Kind == KindLost:
		return true
	case f.Errors && (e.Kind != KindCall || e.Code == codes.OK.String()):
		return false
	case f.Slower > 0 && (e.Kind != KindCall || e.Seconds <= f.Slower.Seconds()):
		return false
	}
	return oneOf(f.Methods, func(pattern string) bool { return fitsMethod(pattern, e.Method) }) &&
		oneOf(f.Pods, func(pattern string) bool { return fitsPod(pattern, e.Pod) }) &&
		oneOf(f.Images, func(part string) bool { return fitsImage(part, e) })
}

// oneOf tells whether one of some wishes, if there are any, is met.
func oneOf(wishes []string, met func(string) bool) bool {
	return len(wishes) == 0 || slices.ContainsFunc(wishes, met)
}

func fitsMethod(pattern, method string) bool {
	return fits(pattern, path.Base(method)) || fits(pattern, shortMethod(method)) ||
		fits(strings.TrimPrefix(pattern, "/"), strings.TrimPrefix(method, "/"))
}

func fitsPod(pattern, pod string) bool {
	return fits(pattern, pod) || pod != "" && fits(pattern, path.Base(pod))
}

func fitsImage(part string, e *Event) bool {
	holds := func(name string) bool { return strings.Contains(strings.ToLower(name), strings.ToLower(part)) }
	return slices.ContainsFunc(e.Images, holds) || slices.ContainsFunc(e.Decisions, func(d Decision) bool {
		return holds(d.Asked) || holds(d.Served)
	})
}

func fits(pattern, name string) bool {
	fit, _ := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return fit
}

// Values are the filter as the query of a URL, ParseFilter what reads it.
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

// ParseFilter returns the filter whose [Filter.Values] are given.
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
