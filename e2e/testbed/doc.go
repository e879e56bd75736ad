// Package testbed starts the real components around the shim: a
// password-protected registry, a container runtime and the built shim itself,
// each in a folder of its own, all on loopback and unix sockets.
//
// The end-to-end tests and the demo share this package, so it does not import
// testing. A component is started with a context that bounds the wait until it is
// ready. It then runs until it is stopped:
//
//	registry, err := testbed.StartRegistry(ctx, testbed.RegistryOptions{Folder: folder, Username: "admin", Password: "secret"})
//	...
//	defer registry.Stop()
//	err = registry.Push(ctx, "library/nginx:1.25", image)
//
// Every child process is ended by its process ID and is killed when its parent ends,
// even if the parent is killed. Containerd runs in its own process and mount
// namespaces, so its shims, containers and mounts end with it.
package testbed
