package page

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	failureWindow = 15 * time.Minute // time for which a failed decision is a problem
	maxImages     = 5                // failing images that are listed as problems
	maxCauseBytes = 240              // bytes of each cause of a problem
)

// failingImage describes the failures of one requested name.
type failingImage struct {
	Name     string    `json:"name"`
	Method   string    `json:"method"`         // of the last failure
	Pods     []string  `json:"pods,omitempty"` // namespace/name of the pods, that of the last failure first
	Causes   []string  `json:"causes"`         // the preferred registries' first, then the client's error
	Failures int       `json:"failures"`
	At       time.Time `json:"at"` // time of the last failure
}

// failingImages returns the images with recent failures, except those followed by another
// decision with the same method and name. absent are the images that no registry has.
// decisions must be sorted, the newest first; so are the results.
func failingImages(now time.Time, decisions []numberedDecision) (failing, absent []*failingImage) {
	images := make(map[string]*failingImage)
	resolved := make(map[[2]string]bool)
	for _, d := range decisions {
		key := [2]string{d.Method, d.Asked}
		if d.Error == "" {
			resolved[key] = true
		}
		if d.Error == "" || resolved[key] || now.Sub(d.At) >= failureWindow {
			continue
		}
		image := images[d.Asked]
		if image == nil {
			image = &failingImage{Name: d.Asked, Method: d.Method, Causes: d.causes(), At: d.At}
			images[d.Asked] = image
			if d.Absent {
				absent = append(absent, image)
			} else {
				failing = append(failing, image)
			}
		}
		image.Failures++
		if pod := d.Namespace + "/" + d.Pod; d.Pod != "" && !slices.Contains(image.Pods, pod) {
			image.Pods = append(image.Pods, pod)
		}
	}
	return failing, absent
}

// causes returns short texts for the causes of a failed decision: the registries that were
// tried, in their order, then the error.
func (d Decision) causes() []string {
	var causes []string
	if d.Tried != "" {
		causes = append(causes, clip(d.Tried, maxCauseBytes))
	}
	// The shim's part of the error repeats the registries.
	text, _, _ := strings.Cut(d.Error, "; image-cri-shim ")
	text, _, _ = strings.Cut(text, ", tried: ")
	// Runtimes put the operations before the cause, with the quoted name in each of them.
	if i := strings.LastIndex(text, `": `); i >= 0 {
		code, _, _ := strings.Cut(text, ": ")
		text = code + ": " + text[i+len(`": `):]
	}
	return append(causes, clip(text, maxCauseBytes))
}

// imageProblems returns a problem for each of the first images, and one for the others.
func imageProblems(level Level, images []*failingImage) []problem {
	var problems []problem
	for i, image := range images {
		if i == maxImages {
			text := fmt.Sprintf("More images with failed requests in the last 15 minutes: %d", len(images)-i)
			return append(problems, problem{Level: level, Text: text, Section: "decisions"})
		}
		text := fmt.Sprintf("%s of %s failed", image.Method, image.Name)
		if level == note {
			text = "No registry has " + image.Name
		}
		if len(image.Pods) > 0 {
			text += ", pod " + image.Pods[0]
		}
		problems = append(problems, problem{Level: level, Text: text + ": " + strings.Join(image.Causes, "; "), Section: "decisions", Image: image})
	}
	return problems
}
