package registry

import (
	"github.com/distribution/reference"
)

// rule is the decision whether a registry is asked for an original, and its reason.
type rule struct {
	isAsked bool
	text    string
	pattern string // pattern of the configuration, shown after text
	isMatch bool   // a pattern in match names the original
	key     string // configuration key that keeps the registry from being asked; see [RuleResult].Key
}

// String returns the reason as it is shown to users.
func (r rule) String() string {
	if r.pattern == "" {
		return r.text
	}
	return r.text + " " + r.pattern
}

// rule applies match and tags to an original. Exclusions take precedence. A registry is
// asked for every original on its own host that is not excluded. A public registry is asked
// for originals on other hosts only if match names them.
func (e *endpoint) rule(original reference.Named) rule {
	if excluded := e.excluded(original); excluded != (rule{}) {
		return excluded
	}
	if e.proximity(original) > 0 {
		return rule{isAsked: true, text: "its own host"}
	}
	included := firstMatch(e.patterns.include, e.plain.Repository(original.Name()))
	switch {
	case included == "" && len(e.patterns.include) > 0:
		return rule{text: "no pattern in match", key: "match"}
	case included == "" && e.public:
		return rule{text: "a public registry without match serves its own host only", key: "match"}
	}
	// Tags do not apply to an original with a digest.
	if tagged, ok := original.(reference.Tagged); ok {
		if excluded := firstMatchingTag(e.tags.exclude, tagged.Tag()); excluded != "" {
			return rule{text: "tags exclude", pattern: "!" + excluded, key: "tags"}
		}
		if len(e.tags.include) > 0 && firstMatchingTag(e.tags.include, tagged.Tag()) == "" {
			return rule{text: "no pattern in tags", key: "tags"}
		}
	}
	if included == "" {
		return rule{isAsked: true, text: "all images"}
	}
	return rule{isAsked: true, text: "match", pattern: included, isMatch: true}
}

// excluded returns the rule that excludes an original, or the zero rule if none does. An
// exclusion is compared with the original and with its repository in this registry, so that
// an excluded repository can't be reached under another name.
func (e *endpoint) excluded(original reference.Named) rule {
	if len(e.patterns.exclude) == 0 {
		return rule{}
	}
	if pattern := firstMatch(e.patterns.exclude, e.plain.Repository(original.Name())); pattern != "" {
		return rule{text: "match excludes", pattern: "!" + pattern, key: "match"}
	}
	target, err := e.repository(original)
	if err != nil {
		return rule{}
	}
	if pattern := firstMatch(e.patterns.exclude, e.plain.Repository(target.Name())); pattern != "" {
		return rule{text: "match excludes its repository in this registry:", pattern: "!" + pattern, key: "match"}
	}
	return rule{}
}

// RuleResult is the decision whether a registry is asked for an image.
type RuleResult struct {
	Registry  string // address of the registry
	Priority  int
	Asked     bool   // whether the registry is asked
	OwnHost   bool   // the image is on the registry's own host, where match and tags apply only as exclusions
	Rule      string // reason of the decision, in a few words
	Key       string // key of the configuration that excludes the image: match, tags or path; empty if none does
	Reference string // reference that is looked up; empty if the registry is not asked
	Down      string // why the circuit of the registry or the repository is open; empty if both are closed
}

// RuleResults applies the rules of every registry to an image. The results are in the
// order of [Set.Candidates]. It sends no request.
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
		result := RuleResult{Registry: e.location.String(), Priority: e.priority, Asked: asked[e], OwnHost: e.proximity(original) > 0, Rule: rule.String(), Key: rule.key}
		switch {
		case result.Asked:
			result.Reference = candidate.String()
		case rule.isAsked:
			result.Rule = "another registry has the same reference"
		}
		if err := s.allow(query{endpoint: e, reference: candidate}); err != nil {
			result.Down = err.Error()
		}
		results = append(results, result)
	}
	return results
}
