package doctor

import (
	"context"
	"slices"
	"strings"

	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

// checkFallback reports the images of the node that no registry can serve although pulls of
// them may use no other: because of fallback: never, or because the image is on the host of a
// configured registry.
func checkFallback(_ context.Context, n *node) []Finding {
	if !n.images.known || slices.ContainsFunc(n.probes, func(p registry.Probe) bool { return !n.isUsable(p) }) {
		return nil // reported by checkRuntime or connectionFindings
	}
	var stuck []string
	never, works := false, false
	for _, image := range n.images.lookups {
		if isStuck(image) {
			stuck = append(stuck, image.Image)
		} else if isForeign(image) {
			works = true
		}
		never = never || !image.MayFallBack
	}
	t := topic{"fallback", n.File}
	const hint = "push the images to a registry, or correct the key path or match; with fallback: original, images of other hosts may be pulled from there"
	const limit = 3
	shown := strings.Join(stuck[:min(len(stuck), limit)], ", ")
	switch {
	case len(stuck) > 0:
		level := Warn
		if !works && !n.images.isSample() { // all images fail, except perhaps some on the registries' own hosts
			level = Fail
		}
		return []Finding{t.finding(level, hint, "pulls of %d of %d images on the node fail, because no registry that they may use confirms that it has them: %s", []any{len(stuck), len(n.images.lookups), shown})}
	case never:
		return []Finding{t.ok("the registries have all images on the node that may not be pulled from elsewhere (fallback: never)")}
	}
	return nil
}

// isStuck reports whether no registry has an image that may not be pulled from elsewhere.
func isStuck(image explain.Lookups) bool {
	own := ""
	for _, rule := range image.Rules {
		if rule.OwnHost && rule.Asked {
			own = rule.Registry
		}
	}
	absentAtHome := false
	for _, answer := range image.Answers {
		if answer.State == registry.Found {
			return false
		}
		absentAtHome = absentAtHome || answer.Registry == own && answer.State == registry.Absent
	}
	return absentAtHome || !image.MayFallBack
}
