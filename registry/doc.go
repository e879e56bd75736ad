// Package registry asks OCI registries which of them has an image.
//
// A [Set] holds the registries of a configuration. For an image's name it
// computes the [Candidate] of each registry, the best first, without a request. Or it
// asks which registries have theirs:
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
// # Names
//
// A registry is expected to have docker.io/library/nginx:1.25 under its host,
// its prefix and the repository: sealos.hub:5000/library/nginx:1.25. A template
// says otherwise, from these parts of the original:
//
//	{domain}  its registry, docker.io, in lower case; a port follows "_": localhost_5000
//	{path}    its repository, library/nginx
//	{name}    the last element of its repository, nginx
//
// A name that is on the registry's own host stays as it is. A digest wins over
// a tag, a name with neither means the tag "latest", and a candidate that is no
// valid reference is left out.
//
// Patterns limit a registry to some originals. Each is compared with the
// beginning of the original's repository, element by element, as in path.Match:
// "docker.io", "docker.io/library", "*.gcr.io/team". One that begins with "!"
// excludes if it matches the original's repository or the candidate's, and
// excludes win. A name on the registry's own host that none excludes always
// matches. Without any other pattern everything matches, but nothing of another
// host if the registry is a public one.
//
// Decisions are made on the canonical form of a host (package hosts), so that its
// spelling makes no difference. Candidates keep the spelling of the original or of
// the registry's address.
//
// Patterns of tags, "1.*" or "!latest", limit it likewise to originals
// with such a tag, or with a digest; on the registry's own host they don't count.
//
// # Answers
//
// A look-up is a HEAD of the manifest, or a GET if the registry refuses that (OCI
// distribution specification, "Pulling manifests"). It logs in as the registry's
// answer asks, and again if the registry refuses the login that was used before,
// once a minute at most. All candidates are
// looked up at once, and look-ups of one candidate are shared. Absent is only
// what the registry says it does not have; whatever else keeps it from having
// it is Unknown. Found and Absent are remembered for a while, Found until
// [Set.RecordPullFailure] at most; Unknown is not.
//
// Four look-ups run at once on one host, and the others wait for these. A caller
// gets Unknown after about the time of one look-up. The look-up itself goes on, and later
// callers get its answer.
//
// One repository that fails is not a failing registry. If a look-up is not answered,
// or the third in a row is answered 429 or 5xx, the root of the API is asked (any
// answer but these counts) before the registry counts as down. It counts as down,
// too, if look-ups in two repositories are not answered, and none is in between. Its
// circuit then opens: it is not asked but probed in the background, until it answers
// again. What is remembered of it is used meanwhile, and everything else is Unknown.
// No caller waits for a registry that is known to be down.
//
// The probing begins after a second and goes on every 5 at least, so that a circuit
// closes within 5 seconds of the registry's return and the time of one look-up. It
// begins after twice as long as the last time, up to a minute, if the circuit has
// closed within the last minute and no look-up has been answered since: a registry
// may answer probes and nothing else.
//
// If only the repository fails, its look-ups are Unknown for a second, for twice as
// long each further time and a minute at most, until one is answered. A 429 with
// Retry-After is obeyed for its repository, for an hour at most.
//
// # Pulls
//
// A registry may answer look-ups and fail the pulls that follow. The caller reports
// pulls with [Set.RecordPull] and [Set.RecordPullFailure]. A candidate whose pull failed a
// moment ago comes after those that the other registries have. Images of a repository
// whose pull did not end in time come last for 5 minutes, and for twice as long each
// further time, up to an hour, until a pull from this repository succeeds. They are a
// last resort, for after the original registry. Other repositories of the registry are not
// concerned.
//
// # Observing
//
// [Options].OnLookup is called for each look-up, and [Set.Conditions] returns the state of
// the registries, for metrics and the like. [Set.Probe] connects to them now, and
// [Set.RuleResults] explains which of them an image is looked up in.
//
// # Fallback
//
// [Set.MayFallBack] reports whether an image that no registry could serve may be pulled
// from the registry in its name. This is configured for all images or for those of a
// registry. This package itself never asks the original registry.
//
// # Secrets
//
// A registry is only ever reached over the scheme of its address, and its
// credentials go to it and to the token server it names, nowhere else. No type
// of this package prints a password, and no error holds one. Package keychain reads files
// with credentials.
//
// Proxies are taken from the environment (HTTPS_PROXY, NO_PROXY), as container
// runtimes do.
package registry
