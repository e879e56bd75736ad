package doctor

import (
	"regexp"
	"slices"
	"strconv"
)

// hostsRules are the rules by which a version of containerd reads hosts.toml.
// testdata/hosts.txtar has what 1.6.20 and 2.4.2 were seen to do; the versions
// between were read in containerd's history.
type hostsRules struct {
	needsTable      bool // a file without a [host] table is ignored
	containerd2     bool // containerd 2: TOML 1.0, keys in any case, no byte order mark, hosts in tables only
	dialTimeout     bool // the key dial_timeout is known
	referrers       bool // the capability referrers is known
	httpFallback    bool // http is tried after https where a host with http has TLS settings
	httpsOnLoopback bool // this machine is asked over https at its default port
	defaultFolders  bool // without config_path there are folders
	transferService bool // pulls go through the transfer service, which takes config_path for one folder
}

// hostsRulesOf returns the rules of a version as containerd tells it, such as
// v2.4.2 or 1.6.20~ds1. A version that is not understood counts as the newest.
func hostsRulesOf(version string) hostsRules {
	v := versionNumbers(version)
	since := func(numbers ...int) bool { return slices.Compare(v, numbers) >= 0 }
	// backported reports whether the version has what came with a release of 1.7
	// and one of 1.6.
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
		number, _ := strconv.Atoi(text) // digits, as the pattern says
		numbers = append(numbers, number)
	}
	return numbers
}
