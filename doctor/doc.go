// Package doctor examines a node: whether the shim is set up, reachable and used,
// and whether it and the runtime can get at the registries. It says what is wrong
// and what to do, changes nothing, and shows no secret.
//
// Each check is a function in the file that is named for its subject. What depends
// on something that a [Finding] says is wrong is left out: the report names causes.
package doctor
