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
// The [Ledger] remembers which original is stored under which reference. Image
// IDs are never looked up, changed or taken for names.
package rewrite
