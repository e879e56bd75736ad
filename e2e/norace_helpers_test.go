//go:build !race

package e2e

// raceFlags build the shim without the race detector, as the tests are built.
var raceFlags []string
