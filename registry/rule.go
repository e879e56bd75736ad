package registry

import (
	"github.com/distribution/reference"
)

// rule is what decided whether a registry stands in for an original.
type rule struct {
	standsIn bool
	text     string
	pattern  string // of the configuration, that the text ends with
	isMatch  bool   // a pattern in match names the original
}

// String says it for people.
func (r rule) String() string {
	if r.pattern == "" {
		return r.text
	}
	return r.text + " " + r.pattern
}

// rule applies match and tags. Excludes win, and on its own host a registry
// stands in for all that is not excluded. A public registry stands in for other
// hosts only if match names them.
func (e *endpoint) rule(original reference.Named) rule {
	if excluded := e.excluded(original); excluded != (rule{}) {
		return excluded
	}
	if e.proximity(original) > 0 {
		return rule{standsIn: true, text: "its own host"}
	}
	included := firstMatch(e.patterns.include, e.plain.Repository(original.Name()))
	switch {
	case included == "" && len(e.patterns.include) > 0:
		return rule{text: "match has no pattern for it"}
	case included == "" && e.public:
		return rule{text: "a public registry without match serves its own host only"}
	}
	// A digest is asked for whatever the tags are.
	if tagged, ok := original.(reference.Tagged); ok {
		if excluded := firstMatchingTag(e.tags.exclude, tagged.Tag()); excluded != "" {
			return rule{text: "tags exclude", pattern: "!" + excluded}
		}
		if len(e.tags.include) > 0 && firstMatchingTag(e.tags.include, tagged.Tag()) == "" {
			return rule{text: "tags have no pattern for it"}
		}
	}
	if included == "" {
		return rule{standsIn: true, text: "all images"}
	}
	return rule{standsIn: true, text: "match", pattern: included, isMatch: true}
}

// excluded returns the rule that excludes an original, and the zero rule if none
// does. An exclusion is compared with the original and with its repository in this
// registry, so that an excluded repository can't be reached by another name.
func (e *endpoint) excluded(original reference.Named) rule {
	if len(e.patterns.exclude) == 0 {
		return rule{}
	}
	if pattern := firstMatch(e.patterns.exclude, e.plain.Repository(original.Name())); pattern != "" {
		return rule{text: "match excludes", pattern: "!" + pattern}
	}
	target, err := e.repository(original)
	if err != nil {
		return rule{}
	}
	if pattern := firstMatch(e.patterns.exclude, e.plain.Repository(target.Name())); pattern != "" {
		return rule{text: "match excludes its repository there:", pattern: "!" + pattern}
	}
	return rule{}
}

// RuleResult is the decision whether one registry is asked for an image.
type RuleResult struct {
	Registry  string // its address
	Priority  int
	StandsIn  bool
	Rule      string // that decided, in a few words
	Reference string // that it is asked for; empty: it is not asked
	Down      string // why it, or this repository, is not asked now; empty if the circuits are closed
}

// RuleResults applies the rules of every registry to an image, in the order of
// [Set.Candidates]. It sends no request.
func (s *Set) RuleResults(name reference.Named) []RuleResult {
	original, err := reference.ParseDockerRef(name.String())
	if err != nil {
		return nil
	}
	asked := map[*endpoint]bool{}
	for _, q := range s.queries(original) {
		asked[q.endpoint] = true
	}
	var results []RuleResult
	for _, e := range s.ordered(original) {
		candidate, rule := e.candidate(original)
		result := RuleResult{Registry: e.location.String(), Priority: e.priority, StandsIn: asked[e], Rule: rule.String()}
		switch {
		case result.StandsIn:
			result.Reference = candidate.String()
		case rule.standsIn:
			result.Rule = "another registry has the same reference"
		}
		if err := s.allow(query{endpoint: e, reference: candidate}); err != nil {
			result.Down = err.Error()
		}
		results = append(results, result)
	}
	return results
}
