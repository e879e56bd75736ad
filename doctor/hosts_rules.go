package doctor

import (
	"regexp"
	"slices"
	"strconv"
)

// hostsRules are the rules by which a version of containerd reads hosts.toml.
// testdata/hosts.txtar records the observed behaviour of 1.6.20 and 2.4.2. The rules for
// the versions in between are from containerd's source history.
type hostsRules struct {
	needsTable      bool // a file without a [host] table is ignored
	containerd2     bool // containerd 2: TOML 1.0, keys in any case, no byte order mark, hosts in tables only
	dialTimeout     bool // the key dial_timeout is supported
	referrers       bool // the capability referrers is supported
	httpFallback    bool // for an http host with TLS settings, https is tried first and then http
	httpsOnLoopback bool // loopback addresses are reached over https at the default port
	defaultFolders  bool // config_path has a default
	transferService bool // pulls use the transfer service; it reads config_path as one path
}

// hostsRulesOf returns the rules of a version that containerd reports, such as v2.4.2 or
// 1.6.20~ds1. A version that can't be parsed is treated as the newest.
func hostsRulesOf(version string) hostsRules {
	v := versionNumbers(version)
	since := func(numbers ...int) bool { return slices.Compare(v, numbers) >= 0 }
	// backported reports whether the version has a change that was released in 1.7.in17
	// and 1.6.in16.
	backported := func(in17, in16 int) bool {
		return since(1, 7, in17) || since(1, 6, in16) && !since(1, 7)
	}
	return hostsRules{
		needsTable:      !since(1, 7, 32),
		containerd2:     since(2),
		dialTimeout:     since(2, 0, 7),
		referrers:       since(2, 2),
		httpFallback:    backported(16, 32),
		httpsOnLoopback: backported(8, 25),
		defaultFolders:  since(2, 2),
		transferService: since(2, 1),
	}
}

var versionPattern = regexp.MustCompile(`^v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})`)

func versionNumbers(version string) []int {
	match := versionPattern.FindStringSubmatch(version)
	if match == nil {
		return []int{1 << 20}
	}
	var numbers []int
	for _, text := range match[1:] {
		number, _ := strconv.Atoi(text) // the pattern matches digits only
		numbers = append(numbers, number)
	}
	return numbers
}
