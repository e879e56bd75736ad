// Package testbed starts the real components around the shim: a
// password-protected registry, a container runtime and the built shim itself,
// each in a folder of its own, all on loopback and unix sockets.
//
// The end-to-end tests and the demo share it, so it knows nothing of
// testing.T. A component is started with a context that bounds the wait until
// it is ready, and lives until it is stopped:
//
//	registry, err := testbed.StartRegistry(ctx, testbed.RegistryOptions{Folder: folder, Username: "admin", Password: "secret"})
//	...
//	defer registry.Stop()
//	err = registry.Push(ctx, "library/nginx:1.25", image)
//
// Every child process is ended by its process id and dies with its parent, even
// when that one is killed. Containerd runs in process and mount namespaces of
// its own: with it end its shims, its containers and its mounts.
package testbed
