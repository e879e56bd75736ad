// Package doctor examines a node: whether the shim is set up, reachable and used,
// and whether it and the runtime can get at the registries. It says what is wrong
// and what to do, changes nothing, and shows no secret.
//
// Each check is a function checkX in the file that is named for its subject, listed in
// [Examine]. A check that depends on a failed one reports nothing, so that the report
// names causes.
package doctor
