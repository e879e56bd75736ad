//go:build !race

package foreign

// raceFlags build the shim without the race detector, as the tests are built.
var raceFlags []string
