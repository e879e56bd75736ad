// Package lookup connects the packages config, registry and rewrite, which do not import each
// other. [Open] creates the registries of a configuration, for the daemon and for the
// commands that work without a daemon. [New] lets package rewrite look up images in them.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"

	"image-cri-shim/config"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
)

// Open returns the registries of the configuration that was read from file. It adds the
// configuration's values to options, in which the caller sets hooks. The caller must close
// the set.
func Open(file string, settings *config.Config, options registry.Options) (*registry.Set, error) {
	setOptions(&options, settings)
	registries, err := registry.New(options)
	if err == nil {
		return registries, nil
	}
	invalid, known := errors.AsType[*registry.ConfigError](err)
	ca, ofCA := errors.AsType[*registry.CAError](err)
	if known && ofCA {
		hint := "create the file or make it readable, or remove ca to trust only the system's certificates"
		if reason := config.HiddenReason(settings.Registries[invalid.Index].CA); reason != "" {
			hint = "move it to /etc/image-cri-shim/: " + reason
		}
		return nil, settings.Problem(invalid.Index, "ca", ca, hint)
	}
	return nil, fmt.Errorf("%s: %w", file, err)
}

// setOptions sets the options that the configuration determines.
func setOptions(options *registry.Options, settings *config.Config) {
	for _, r := range settings.Registries {
		options.Registries = append(options.Registries, registry.Config{
			Address:            r.Address,
			Username:           r.Username,
			Password:           r.Password,
			AuthFile:           r.AuthFile,
			Priority:           r.Priority,
			Match:              r.Match,
			Tags:               r.Tags,
			Path:               r.Path,
			CA:                 r.CA,
			InsecureSkipVerify: r.InsecureSkipVerify,
			Fallback:           registry.Fallback(r.Fallback),
		})
	}
	options.LookupTimeout = settings.LookupTimeout
	options.Fallback = registry.Fallback(settings.Fallback)
	options.CacheSize = settings.Cache.ImageCacheSize
	options.FoundTTL = settings.Cache.ImageCacheTTL
	options.AbsentTTL = settings.Cache.AbsentTTL
}

// Warnings returns a warning for each entry of an authFile that can't be used.
func Warnings(settings *config.Config, registries *registry.Set) []config.Message {
	var warnings []config.Message
	for _, problem := range registries.AuthFileProblems() {
		reads := func(r config.Registry) bool { return r.AuthFile != "" && strings.HasPrefix(problem, r.AuthFile+": ") }
		if i := slices.IndexFunc(settings.Registries, reads); i >= 0 {
			warnings = append(warnings, settings.Warning(i, "authFile", problem))
		} else {
			warnings = append(warnings, config.Message{Key: "authFile", Text: problem})
		}
	}
	return warnings
}

// lookup implements [rewrite.Lookup] for a set of registries.
type lookup struct {
	registries *registry.Set
}

// New returns a [rewrite.Lookup] that looks up images in registries.
func New(registries *registry.Set) rewrite.Lookup { return lookup{registries} }

func (l lookup) Candidates(name reference.Named) []rewrite.Candidate {
	found := l.registries.Candidates(name)
	candidates := make([]rewrite.Candidate, len(found))
	for i, candidate := range found {
		candidates[i] = rewrite.Candidate(candidate)
	}
	return candidates
}

func (l lookup) Find(ctx context.Context, name reference.Named) iter.Seq[rewrite.Answer] {
	return func(yield func(rewrite.Answer) bool) {
		for answer := range l.registries.Find(ctx, name) {
			reason := answer.State.String()
			switch {
			case answer.Err != nil:
				reason += ": " + answer.Err.Error()
			case answer.Postponed != "":
				reason += ": " + answer.Postponed
			}
			if !yield(rewrite.Answer{
				Candidate:   rewrite.Candidate(answer.Candidate),
				Found:       answer.State == registry.Found,
				Absent:      answer.State == registry.Absent,
				Digest:      answer.Digest,
				Credentials: rewrite.Credentials(answer.Credentials),
				LastResort:  answer.LastResort,
				Reason:      reason,
			}) {
				return
			}
		}
	}
}

func (l lookup) MayFallBack(name reference.Named) bool { return l.registries.MayFallBack(name) }

func (l lookup) Pulled(candidate rewrite.Candidate) {
	l.registries.RecordPull(registry.Candidate(candidate))
}

func (l lookup) Failed(candidate rewrite.Candidate, stalled time.Duration) {
	l.registries.RecordPullFailure(registry.Candidate(candidate), stalled)
}
