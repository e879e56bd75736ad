// Package rewrite changes the image names in CRI messages, so that an image is
// pulled from a private registry that has it while every client goes on seeing
// the name it asked for.
//
// It knows the messages of the CRI (k8s.io/cri-api) and no network: a [Lookup]
// says which registries have an image, and an [Invoke] calls the runtime.
//
//	rewriter := rewrite.New(rewrite.Options{Lookup: registries, Ledger: ledger, Timeout: 15 * time.Minute})
//	for method, handle := range rewriter.Unary() { ... } // "/runtime.v1.ImageService/PullImage" and its kin
//
// Three kinds of names are told apart throughout:
//
//   - the asked name is what the client wrote, "nginx:1.25";
//   - the original reference is its canonical form, "docker.io/library/nginx:1.25"
//     (github.com/distribution/reference);
//   - the stored reference is the name under which the runtime has the image,
//     "registry.example:5000/library/nginx:1.25" after a pull from a registry.
//
// Where containerd runs, the image gets the asked names in the runtime itself after
// the pull, and loses the stored ones: the [Namer] does that. For other runtimes, and
// for an image whose naming has failed, the [Ledger] remembers which original is stored
// under which reference, and answers are changed. Image IDs are never looked up, changed
// or taken for names.
//
// The files of the namer: namer.go (mode), naming_pull.go (the naming of one pull),
// naming_image.go (names that an image gets), naming_settle.go (names that are deleted),
// naming_late.go (pulls that were cut off), naming_own.go (pulls of a registry's own
// names), naming_fallback.go (the ledger instead), naming_ledger.go (the ledger's names
// become the runtime's), naming_run.go (background), naming_gate.go and
// naming_repository.go (order of calls), naming_journal.go (file), naming_view.go (what
// clients see meanwhile), naming_calls.go (calls that pass), naming_sandbox.go (names
// that must stay), naming_version.go (CRI's versions).
package rewrite
