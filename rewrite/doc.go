// Package rewrite changes image names in CRI messages: an image is pulled from a private
// registry, while clients see the name that they asked for.
//
// # Example
//
// kubelet asks for nginx:1.25, and the registry hub:5000 has this image as
// hub:5000/library/nginx:1.25. The shim changes these calls:
//
//	client's call             call to the runtime                      answer to the client
//	PullImage nginx:1.25      PullImage hub:5000/library/nginx:1.25    image sha256:1
//	ImageStatus nginx:1.25    ImageStatus sha256:1                     image docker.io/library/nginx:1.25
//	ListImages                ListImages                               image docker.io/library/nginx:1.25
//
// PullImage: nginx:1.25 means docker.io/library/nginx:1.25. A [Lookup] reports that hub:5000
// has the image, and the runtime pulls hub:5000/library/nginx:1.25 with the credentials of
// hub:5000. If no registry has the image, or all pulls fail, the runtime pulls nginx:1.25
// from docker.io with the unchanged request, unless the configuration forbids that.
//
// ImageStatus: after the pull, the runtime has the image as hub:5000/library/nginx:1.25 only.
// A [ledger.Ledger] has recorded that docker.io/library/nginx:1.25 means sha256:1. The shim
// finds the image by this ID, and shows docker.io/library/nginx:1.25 in the answer in place
// of hub:5000/library/nginx:1.25.
//
// ListImages: the shim replaces the names of this image in the same way.
//
// containerd can store the requested name itself. There, a [naming.Namer] creates
// docker.io/library/nginx:1.25 at the end of the pull and deletes
// hub:5000/library/nginx:1.25. Status and list then pass unchanged. The ledger is used only
// if the naming of an image has failed.
//
// # Names
//
//   - The requested name is the name in the client's request: nginx:1.25.
//   - The original reference, or original, is its canonical form
//     (github.com/distribution/reference): docker.io/library/nginx:1.25.
//   - The stored reference is the name under which the runtime stores the image:
//     hub:5000/library/nginx:1.25.
//
// Image IDs are never looked up in registries, changed, or parsed as names.
//
// # Use
//
// The package decodes the messages of the CRI (k8s.io/cri-api) and does no network I/O
// itself: it uses a [Lookup] for the registries, and an [intercept.Invoke] for the runtime.
//
//	rewriter := rewrite.New(rewrite.Options{Lookup: registries, Ledger: ledger, Timeout: 15 * time.Minute})
//	for method, handle := range rewriter.Unary() { ... } // e.g. "/runtime.v1.ImageService/PullImage"
//
// # Files and folders
//
// rewriter.go has the table of the methods. pull.go, status.go, list.go, remove.go, create.go
// and container.go contain their rules. pass.go and forward.go are the faster ways for calls
// that need no change. The folders:
//
//   - imagename parses names and lists the names of a CRI image.
//   - ledger records the names that the runtime does not have, and restores them in answers.
//   - naming gives images their requested names in containerd, and deletes the registry's names.
//   - cri and containerd are clients of the runtime's two APIs.
//   - statedir reads and writes files in the state directory.
package rewrite
