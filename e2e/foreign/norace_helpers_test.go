//go:build !race

package foreign

// raceFlags are the flags of the shim's build. The tests run without the race detector, and so
// does the shim.
var raceFlags []string
