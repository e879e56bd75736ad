package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

// imageLimit bounds the number of images that are looked up. The registries then receive
// about as many requests as on a new node.
const imageLimit = 100

// nodeImages are the images of the node with the registries' answers.
type nodeImages struct {
	known   bool // the registries were asked
	lookups []explain.Lookups
	total   int // number of names, which may be more than were looked up
	err     error
}

// isSample reports whether some images were not looked up because the others suffice.
func (i nodeImages) isSample() bool { return len(i.lookups) < min(i.total, imageLimit) }

// lookUpImages looks up the images of the node in the registries. It asks nothing if a
// registry refuses the login: a series of refused logins may lock the account.
func (n *node) lookUpImages(ctx context.Context) (images nodeImages) {
	refused := func(p registry.Probe) bool { return p.Login != nil && p.User != "" }
	if !n.runtime.answers() || len(n.probes) == 0 || slices.ContainsFunc(n.probes, refused) {
		return nodeImages{}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout+2*n.Settings.LookupTimeout)
	defer cancel()
	lookUp := n.Explainer.LookUpImages
	if n.Sample {
		lookUp = n.Explainer.SampleImages
	}
	images.lookups, images.total, images.err = lookUp(ctx, imageLimit)
	images.known = images.err == nil
	return images
}

// imageCounts counts the images of the node that a registry is asked for, and its answers.
type imageCounts struct {
	foreign  int            // images on none of the registries' own hosts
	excluded map[string]int // of these, by the key that excludes them
	asked    int
	found    int
	failed   []string // image and cause
	absent   []string // image and reference, of foreign images
}

func (i nodeImages) counts(address string) (s imageCounts) {
	s.excluded = map[string]int{}
	for _, image := range i.lookups {
		foreign := isForeign(image)
		if foreign {
			s.foreign++
		}
		for _, rule := range image.Rules {
			if rule.Registry == address && foreign && rule.Key != "" {
				s.excluded[rule.Key]++
			}
		}
		for _, answer := range image.Answers {
			if answer.Registry == address {
				s.count(image, answer, foreign)
			}
		}
	}
	return s
}

func (s *imageCounts) count(image explain.Lookups, answer registry.Answer, foreign bool) {
	if answer.State == registry.Absent && !foreign {
		return // of a registry's own host; see checkFallback
	}
	s.asked++
	switch answer.State {
	case registry.Found:
		s.found++
	case registry.Absent:
		s.absent = append(s.absent, fmt.Sprintf("%s as %s", image.Image, answer.Reference))
	default:
		s.failed = append(s.failed, fmt.Sprintf("%s: %v", answer.Reference, answer.Err))
	}
}

// imageFindings reports how many images of the node a registry is asked for, and how many it
// has.
func (n *node) imageFindings(p registry.Probe, configured config.Registry) []Finding {
	t := topic{"images", p.Registry}
	if n.images.err != nil {
		return []Finding{t.warn("see the runtime's log", "the images on the node are unknown: %v", n.images.err)}
	}
	if !n.images.known || !n.isUsable(p) {
		return nil // reported by checkRuntime or connectionFindings
	}
	s := n.images.counts(p.Registry)
	switch fits := s.foreign - s.excluded["match"] - s.excluded["tags"] - s.excluded["path"]; {
	case len(n.images.lookups) == 0:
		return []Finding{t.ok("there is no image on the node to look up")}
	case s.foreign > 0 && fits == 0 && !configured.OwnHostOnly():
		return []Finding{t.unusedFinding(s, configured)}
	case s.asked == 0:
		return nil // the registry is asked only for images of its own host, and there are none
	case len(s.failed) == s.asked && configured.AuthFile == "":
		return []Finding{t.fail(refusalHint(configured), "the registry answers no lookup of the images on the node (%d), such as %s", s.asked, s.failed[0])}
	case len(s.failed) > 0:
		return []Finding{t.warn(refusalHint(configured), "the registry does not answer %d of %d lookups of the images on the node, such as %s", len(s.failed), s.asked, s.failed[0])}
	case s.found == 0:
		return []Finding{t.warn(absentHint(p, configured), "the registry has none of the images on the node that it is asked for (%d), such as %s", s.asked, s.absent[0])}
	}
	note := ""
	if more := n.images.total - len(n.images.lookups); more > 0 {
		note = fmt.Sprintf("; not looked up: %d more", more)
	}
	return []Finding{t.ok("the registry has %d of %s on the node that it is asked for%s", s.found, countImages(s.asked), note)}
}

// unusedFinding is the finding if the configuration lets a registry serve no image of the
// node. It names the key that excludes most of them.
func (t topic) unusedFinding(s imageCounts, configured config.Registry) Finding {
	key, value := "match", configured.Match
	for _, other := range []string{"tags", "path"} {
		if s.excluded[other] > s.excluded[key] {
			key = other
		}
	}
	switch key {
	case "tags":
		value = configured.Tags
	case "path":
		value = []string{configured.Path}
	}
	return t.warn(fmt.Sprintf("correct the key %s; image-cri-shim resolve shows the rule for each image on the node", key),
		"the registry is asked for none of the images on the node (%d): %s: %s fits no image", s.foreign, key, strings.Join(value, ", "))
}

func refusalHint(configured config.Registry) string {
	if configured.AuthFile != "" {
		return "after 401 or 403, add a login to " + configured.AuthFile + " for an account that may pull these images, or exclude them by match; otherwise see the registry's log"
	}
	return "after 401 or 403, set auth to an account that may pull these images, or exclude them by match; otherwise see the registry's log"
}

// absentHint names the settings that decide under which name a registry is asked.
func absentHint(p registry.Probe, configured config.Registry) string {
	const push = "push the images under these names, or limit match to images that the registry has"
	_, prefix, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(p.Registry, "https://"), "http://"), "/")
	switch {
	case configured.Path != "" && configured.Path != "{path}": // the default
		return "correct the key path; or " + push
	case prefix != "":
		return "correct the path /" + prefix + " in the key address; or " + push
	}
	return push + "; if it has them under other names, set the key path"
}

// isForeign reports whether an image is on none of the registries' own hosts.
func isForeign(image explain.Lookups) bool {
	return !slices.ContainsFunc(image.Rules, func(r registry.RuleResult) bool { return r.OwnHost })
}

// countImages returns a number of images as text.
func countImages(number int) string {
	if number == 1 {
		return "1 image"
	}
	return fmt.Sprintf("%d images", number)
}
