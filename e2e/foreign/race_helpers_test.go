//go:build race

package foreign

// raceFlags are the flags of the shim's build. The tests run with the race detector, and so
// does the shim.
var raceFlags = []string{"-race"}
