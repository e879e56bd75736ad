//go:build race

package foreign

// raceFlags build the shim with the race detector, as the tests are built.
var raceFlags = []string{"-race"}
