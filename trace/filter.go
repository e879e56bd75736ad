package trace

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Filter selects the events that match all of its non-empty fields. A field with several
// values matches if one of the values does.
type Filter struct {
	Methods    []string      // names, "PullImage" or full, or patterns with * and ?
	NotMethods []string      // as Methods; an event that matches one of them is left out
	Clients    []string      // names of programs, or patterns; process IDs; user IDs as "uid:0"
	Namespaces []string      // namespaces of pods, or patterns
	Pods       []string      // "name" or "namespace/name", or patterns
	Images     []string      // substrings of an image's name, as requested or as served
	Errors     bool          // only failed calls
	Slower     time.Duration // only calls that took longer; 0 for all calls
}

// Check returns an error if a value is empty, a pattern is malformed or the duration negative.
func (f Filter) Check() error {
	patterns := slices.Concat(f.Methods, f.NotMethods, f.Clients, f.Namespaces, f.Pods)
	if slices.Contains(patterns, "") || slices.Contains(f.Images, "") {
		return errors.New("found an empty value, expected a name or pattern")
	}
	for _, client := range f.Clients {
		if user, ok := strings.CutPrefix(client, userPrefix); ok {
			if _, err := strconv.ParseUint(user, 10, 32); err != nil {
				return fmt.Errorf("client %q: expected a user ID after %s", client, userPrefix)
			}
		}
	}
	for _, pattern := range patterns {
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
	matchesThisMethod := func(pattern string) bool { return matchesMethod(pattern, e.Method) }
	return matchesAny(f.Methods, matchesThisMethod) && !slices.ContainsFunc(f.NotMethods, matchesThisMethod) &&
		matchesAny(f.Clients, func(client string) bool { return matchesClient(client, e.Client) }) &&
		matchesAny(f.Namespaces, func(pattern string) bool { return matchesNamespace(pattern, e.Pod) }) &&
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

// userPrefix precedes a user ID in Filter.Clients.
const userPrefix = "uid:"

// maxNameBytes is the length to which the kernel cuts the name of a program.
const maxNameBytes = 15

func matchesClient(wanted string, client *Client) bool {
	if client == nil {
		return false
	}
	if user, ok := strings.CutPrefix(wanted, userPrefix); ok {
		return user == strconv.Itoa(client.User)
	}
	return client.Process > 0 && wanted == strconv.Itoa(client.Process) || client.Name != "" &&
		(matchesPattern(wanted, client.Name) || matchesPattern(wanted[:min(len(wanted), maxNameBytes)], client.Name))
}

func matchesNamespace(pattern, pod string) bool {
	namespace, _, ok := strings.Cut(pod, "/")
	return ok && matchesPattern(pattern, namespace)
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
	values := url.Values{"method": f.Methods, "not-method": f.NotMethods, "client": f.Clients, "namespace": f.Namespaces, "pod": f.Pods, "image": f.Images}
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
	f := Filter{
		Methods: values["method"], NotMethods: values["not-method"], Clients: values["client"],
		Namespaces: values["namespace"], Pods: values["pod"], Images: values["image"],
		Errors: values.Get("errors") == "true",
	}
	if slower := values.Get("slower-than"); slower != "" {
		var err error
		if f.Slower, err = time.ParseDuration(slower); err != nil {
			return f, fmt.Errorf("slower-than: %w", err)
		}
	}
	return f, f.Check()
}
