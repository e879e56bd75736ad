package doctor

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

// originalLimit bounds the number of original registries that are contacted.
const originalLimit = 4

// checkOriginals reports whether the runtime reaches the original registries of images of the
// node that no configured registry has. It requests only the root of the API, without a login.
func checkOriginals(ctx context.Context, n *node) []Finding {
	if !n.images.known || !n.runtime.isContainerd() && !n.runtime.isCRIO() {
		return nil
	}
	images := n.images.byOriginal()
	hosts := slices.Sorted(maps.Keys(images))
	hosts = hosts[:min(len(hosts), originalLimit)]
	findings := make([]Finding, len(hosts))
	ctx, cancel := context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	noneFound := n.images.areAbsent()
	var running sync.WaitGroup
	for i, host := range hosts {
		running.Go(func() {
			findings[i] = n.originalFinding(ctx, host, images[host])
			if noneFound && findings[i].consequence != "" {
				findings[i].Level = Fail
			}
		})
	}
	running.Wait()
	return findings
}

// byOriginal returns the images that are pulled from their original registries, by the hosts
// of these. It leaves out images that were built on the node (localhost).
func (i nodeImages) byOriginal() map[string][]explain.Lookups {
	images := map[string][]explain.Lookups{}
	for _, image := range i.lookups {
		host, _, _ := split(image.Reference)
		found := slices.ContainsFunc(image.Answers, func(a registry.Answer) bool { return a.State == registry.Found })
		if !found && image.MayFallBack && isForeign(image) && host != "localhost" {
			images[host] = append(images[host], image)
		}
	}
	return images
}

// areAbsent reports whether each image was looked up and is absent from each registry, except
// for images on the registries' own hosts.
func (i nodeImages) areAbsent() bool {
	for _, image := range i.lookups {
		present := func(a registry.Answer) bool { return a.State != registry.Absent }
		if isForeign(image) && (len(image.Answers) == 0 || slices.ContainsFunc(image.Answers, present)) {
			return false
		}
	}
	return true
}

// originalFinding returns the finding on one original registry. It has a consequence if the
// runtime does not reach the registry.
func (n *node) originalFinding(ctx context.Context, host string, images []explain.Lookups) Finding {
	t := topic{"original", host}
	hint := "push these images to a configured registry, or give the runtime access to the original one (network, proxy, hosts.toml or registries.conf)"
	if silent := silentRegistry(images); silent != "" {
		hint = "this follows from the failure of " + silent + " above: correct that first"
	}
	text := "no configured registry confirms that it has %s on the node, such as %s; they are pulled from %s, "
	values := []any{countImages(len(images)), images[0].Image, host}
	routing, err := n.routing(host)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return t.warn(rootHint, "the runtime's access can't be checked: %v", err)
	case errors.Is(err, errOldSettings):
		return t.ok(text+"by registry.mirrors or registry.configs, which the doctor does not read", values...)
	case err != nil:
		return t.warn("correct the file", text+"but the runtime's access can't be checked: %v", append(values, err)...)
	}
	results, err := probeRoutes(ctx, routing.routes, host)
	if err != nil {
		return unreachable(t.warn(hint, text+"but the runtime contacts no host: %v", append(values, err)...))
	}
	for _, result := range results {
		if result.scheme != "" && !result.hangs {
			return t.ok(text+"which the runtime reaches", values...)
		}
		err = result.err
	}
	return unreachable(t.warn(hint, text+"which the runtime does not reach: %v", append(values, err)...))
}

// silentRegistry returns a registry that gave no answer for any of the images and may have
// them, or "". Other checks report its failure.
func silentRegistry(images []explain.Lookups) string {
	silent := map[string]int{}
	for _, image := range images {
		for _, answer := range image.Answers {
			if answer.State == registry.Unknown {
				silent[answer.Registry]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(silent)) {
		if silent[name] >= len(images) {
			return name
		}
	}
	return ""
}

// unreachable adds the consequence if no configured registry has any image of the node.
func unreachable(f Finding) Finding {
	f.consequence = "new pulls fail: no registry has the images, and " + f.Subject + " can't be reached"
	return f
}

// reachesOriginal reports whether a host is not that of a configured registry, and the runtime
// reaches it.
func (n *node) reachesOriginal(ctx context.Context, host string) bool {
	configured := slices.ContainsFunc(n.probes, func(p registry.Probe) bool { return p.Host == host })
	if configured || !n.runtime.isContainerd() && !n.runtime.isCRIO() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, n.Settings.LookupTimeout)
	defer cancel()
	return n.originalFinding(ctx, host, []explain.Lookups{{Image: host}}).Level == OK
}
