// Package explain explains what the shim does with an image name, and why. For
// nginx:1.25, for example, an [Image] contains
//
//   - the canonical reference, docker.io/library/nginx:1.25
//   - for each registry, the rule of the configuration that decides whether it is asked,
//     its answer, and whether the answer needed a request
//   - the entries for the name in the ledger and in the runtime
//   - the reference that a pull would request from the runtime now
//
// The running daemon uses its own cache, circuits and ledger. A command can explain
// names without the daemon, from the configuration file alone. An explanation contains
// no secrets.
package explain
