// Package registry looks up images in OCI registries.
//
// A [Set] holds the registries of a configuration. For the name of an image,
// [Set.Candidates] computes the [Candidate] of each registry in order of preference,
// without a request. [Set.Find] asks the registries whether they have their candidates:
//
//	registries, err := registry.New(registry.Options{Registries: []registry.Config{
//		{Address: "http://sealos.hub:5000", Username: "admin", Password: password, Priority: 1000},
//		{Address: "https://hub.example.com/mirror", Priority: 500, Match: []string{"docker.io"}},
//	}})
//	...
//	defer registries.Close()
//	for answer := range registries.Find(ctx, name) {
//		if answer.State == registry.Found {
//			// pull answer.Reference with answer.Credentials
//		}
//	}
//
// The original is the image name as requested, with its default registry and tag; its
// registry is the original registry.
//
// # Names
//
// A registry at sealos.hub:5000 is expected to have docker.io/library/nginx:1.25 as
// sealos.hub:5000/library/nginx:1.25: the host and prefix of the registry, followed by
// the repository of the original. A template can change the repository. It consists of
// these parts of the original:
//
//	{domain}  its registry, docker.io, in lower case; a port follows "_": localhost_5000
//	{path}    its repository, library/nginx
//	{name}    the last element of its repository, nginx
//
// A name on the registry's own host is not changed. A digest takes precedence over a tag.
// A name with neither gets the tag "latest". A candidate that is not a valid reference is
// omitted.
//
// Patterns such as "docker.io", "docker.io/library" or "*.gcr.io/team" limit a registry
// to some originals. A pattern is compared with the beginning of the original's
// repository, element by element, as in path.Match. A pattern that begins with "!" is an
// exclusion. It applies if it matches the repository of the original or that of the
// candidate, and it takes precedence over other patterns. A name on the registry's own
// host matches unless it is excluded. If all patterns are exclusions, every other name matches
// too, except that a public registry matches only names on its own host.
//
// Hosts are compared in canonical form (package hosts), so that their spelling makes no
// difference. Candidates keep the spelling of the original or of the registry's address.
//
// Patterns of tags, such as "1.*" or "!latest", limit a registry to originals with a
// matching tag. Originals with a digest always match. On the registry's own host, patterns
// of tags are ignored.
//
// # Answers
//
// A lookup is a HEAD request for the manifest, or a GET if the registry refuses HEAD (OCI
// distribution specification, "Pulling manifests"). It logs in if the registry answers
// with a challenge. If a login from an earlier lookup is refused, the lookup logs in again,
// at most once a minute.
//
// All candidates of an image are looked up at the same time, and concurrent lookups of one
// candidate are shared. The answer is Absent only if the registry answered that it does not
// have the image; every failure is Unknown. Found and Absent are cached for a while. Unknown
// is not cached, and [Set.RecordPullFailure] removes Found.
//
// At most four lookups run at the same time on one host; others wait for a slot. A caller
// gets Unknown shortly after the timeout of one lookup. The lookup continues in the
// background, and later callers get its answer.
//
// # Circuits
//
// One failing repository does not mean that the registry is down. After a lookup without
// an answer, or after three consecutive answers 429 or 5xx, the API root is requested. The
// registry counts as down if the response is missing, 429 or 5xx. It also counts as down if
// lookups in two repositories get no answer and no lookup is answered in between.
//
// The circuit of a registry that is down is open: no lookups are sent, and a probe in the
// background requests the API root until the registry answers. Meanwhile cached answers are
// used, and every other answer is Unknown. No caller waits for a registry that is known to
// be down.
//
// The first probe is sent after one second. The interval then grows to 5 seconds. In an outage of
// more than 50 seconds, it grows to a tenth of the outage, and to at most a minute. After the
// registry's return, a circuit therefore closes within this interval, plus the time of one lookup.
// A registry may answer probes but no lookups. If a circuit opens again within a minute of closing
// and no lookup was answered in between, the delay before the first probe doubles, up to a minute.
//
// If only one repository fails, its lookups are Unknown for one second. This delay doubles
// with each further failure, up to a minute, until a lookup is answered. A 429 answer with
// Retry-After sets the delay of its repository, up to an hour.
//
// # Pulls
//
// A registry may answer lookups and fail the pulls that follow. The caller reports pulls
// with [Set.RecordPull] and [Set.RecordPullFailure]. After a failed pull, a candidate comes
// after those of other registries for a while.
//
// After a stalled pull, all images of its repository come last, after the original
// registry. This lasts 5 minutes and doubles with each further stalled pull, up to an hour,
// until a pull from the repository succeeds. Other repositories of the registry are not
// affected.
//
// # Observing
//
// [Options].OnLookup is called for each lookup. [Set.Conditions] returns the state of the
// registries, for example for metrics. [Set.Probe] connects to the registries and reports
// the result. [Set.RuleResults] explains which registries are asked for an image.
//
// # Fallback
//
// [Set.MayFallBack] reports whether an image that no registry could serve may be pulled
// from its original registry. This is configured for all images or for those of a registry.
// This package never contacts the original registry.
//
// # Secrets
//
// A registry is only reached over the scheme of its address. Its credentials are sent only
// to the registry and to the token server that it names. No type of this package prints a
// password, and no error contains one. Package keychain reads files with credentials.
//
// Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY), as in container runtimes.
package registry
