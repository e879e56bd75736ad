package registry

import (
	"github.com/distribution/reference"
)

// rule is what decided whether a registry stands in for an original.
type rule struct {
	standsIn bool
	text     string
	pattern  string // of the configuration, that the text ends with
}

// String says it for people.
func (r rule) String() string {
	if r.pattern == "" {
		return r.text
	}
	return r.text + " " + r.pattern
}

// rule applies match and tags. Excludes win, and on its own host a registry
// stands in for all that is not excluded.
func (e *endpoint) rule(original reference.Named) rule {
	if excluded := matching(e.patterns.exclude, original.Name()); excluded != nil {
		return rule{text: "match excludes", pattern: "!" + excluded.String()}
	}
	if e.closeness(original) > 0 {
		return rule{standsIn: true, text: "its own host"}
	}
	included := matching(e.patterns.include, original.Name())
	if included == nil && len(e.patterns.include) > 0 {
		return rule{text: "match has no pattern for it"}
	}
	// A digest is asked for whatever the tags are.
	if tagged, ok := original.(reference.Tagged); ok {
		if excluded := matchingTag(e.tags.exclude, tagged.Tag()); excluded != "" {
			return rule{text: "tags exclude", pattern: "!" + excluded}
		}
		if len(e.tags.include) > 0 && matchingTag(e.tags.include, tagged.Tag()) == "" {
			return rule{text: "tags have no pattern for it"}
		}
	}
	if included == nil {
		return rule{standsIn: true, text: "all images"}
	}
	return rule{standsIn: true, text: "match", pattern: included.String()}
}

// Verdict is why a registry is asked for an image, or why it is not.
type Verdict struct {
	Registry  string // its address
	Priority  int
	StandsIn  bool
	Rule      string // that decided it, in a few words
	Reference string // what it is asked for; empty where it is not
	Down      string // why it, or this repository, is not asked now; empty if the circuits are closed
}

// Verdicts returns what the rules say of an image, for every registry, in the order
// of [Set.Candidates]. It asks nobody.
func (s *Set) Verdicts(name reference.Named) []Verdict {
	original, err := reference.ParseDockerRef(name.String())
	if err != nil {
		return nil
	}
	asked := map[*endpoint]bool{}
	for _, q := range s.questions(original) {
		asked[q.endpoint] = true
	}
	var verdicts []Verdict
	for _, e := range s.ordered(original) {
		candidate, rule := e.candidate(original)
		v := Verdict{Registry: e.location.String(), Priority: e.priority, StandsIn: asked[e], Rule: rule.String()}
		switch {
		case v.StandsIn:
			v.Reference = candidate.String()
		case rule.standsIn:
			v.Rule = "another registry has the same reference"
		}
		if err := s.withheld(question{e, candidate}); err != nil {
			v.Down = err.Error()
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}
