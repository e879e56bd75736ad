// Package rewrite changes the image names in CRI messages, so that an image is
// pulled from a private registry that has it while every client goes on seeing
// the name it asked for.
//
// It knows the messages of the CRI (k8s.io/cri-api) and no network: a [Lookup]
// says which registries have an image, and an [intercept.Invoke] calls the runtime.
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
// the pull, and loses the stored ones: a [naming.Namer] does that. For other runtimes, and
// for an image whose naming has failed, a [ledger.Ledger] remembers which original is stored
// under which reference, and answers are changed. Image IDs are never looked up, changed
// or taken for names.
//
// This package has the decisions for each method of the CRI: pull.go, status.go, list.go,
// remove.go, create.go, container.go. The folders:
//
//   - imagename parses names and finds those of a CRI image.
//   - ledger records the names that the runtime does not have, and restores them in answers.
//   - naming gives images their names in containerd, and deletes those of the registries.
//   - cri and containerd are clients of the runtime's two APIs.
//   - statedir reads and writes the files of the state directory.
package rewrite
