// Package doctor examines a node. It checks whether the shim is configured, reachable and
// used, and whether the shim and the runtime can reach the registries. The report names
// each problem and its remedy. The package changes nothing and shows no secrets.
//
// Each check is a function checkX in a file named after its subject. [Examine] lists the
// checks. A check that depends on a failed one reports nothing, so that the report shows
// only causes.
package doctor
