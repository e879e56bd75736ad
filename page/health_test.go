package page

import (
	"strings"
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	serving := Service{Runtime: "/run/runtime.sock", Socket: "/run/shim.sock"}
	pull := func(asked, err string, age time.Duration) numberedDecision {
		return numberedDecision{At: noon.Add(-age), Decision: Decision{Method: "PullImage", Asked: asked, Error: err}}
	}
	absent := func(asked string) numberedDecision {
		d := pull(asked, "NotFound: no such image", 0)
		d.Absent = true
		return d
	}
	for name, test := range map[string]struct {
		change     func(*Service)
		registries []Registry
		decisions  []numberedDecision
		level      Level
		problems   []string // the start of each text
	}{
		"no problem": {
			registries: []Registry{{State: Up}, {State: Unasked}},
			decisions:  []numberedDecision{pull("nginx", "", 0)},
			level:      ok,
		},
		"no runtime": {
			change:   func(s *Service) { s.RuntimeError = "connection refused" },
			level:    failing,
			problems: []string{"The runtime at /run/runtime.sock does not answer: connection refused"},
		},
		"not yet": {
			change:   func(s *Service) { s.NotServing = "waiting for the runtime" },
			level:    failing,
			problems: []string{"Clients can't connect to /run/shim.sock: waiting for the runtime"},
		},
		"the most severe problem first": {
			change:     func(s *Service) { s.RuntimeError, s.ConfigError = "gone", "shim.yaml:4: unknown key" },
			registries: []Registry{{Address: "http://a", State: Down, Reason: "timeout"}, {Address: "http://b", State: SlowInPart, Reason: "stalls"}},
			level:      failing,
			problems: []string{
				"The runtime at /run/runtime.sock does not answer: gone",
				"The registry http://a is down: timeout",
				"The registry http://b is slow in part: stalls",
				"Reloading the configuration failed, the last good configuration stays in force: shim.yaml:4: unknown key",
			},
		},
		"keys that wait for a restart": {
			change:   func(s *Service) { s.RestartKeys = []string{"engine", "names"} },
			level:    warning,
			problems: []string{"Changed keys take effect after a restart of the shim: engine, names"},
		},
		"naming fails": {
			change: func(s *Service) { s.Names = Naming{Mode: "runtime", Ledger: 2, Repairs: 1} },
			level:  warning,
			problems: []string{
				"Names of pulled images that are in the ledger but not yet in the runtime: 2",
				"Names from some repositories (1) could not be changed in the runtime; the shim retries",
			},
		},
		"names in the ledger": {
			change: func(s *Service) { s.Names = Naming{Mode: "ledger", Ledger: 2} },
			level:  ok,
		},
		"a failed pull before its registry": {
			registries: []Registry{{Address: "http://a", State: Down, Reason: "timeout"}},
			decisions:  []numberedDecision{pull("nginx:9", "Unknown: no such host", time.Minute)},
			level:      warning,
			problems:   []string{"PullImage of nginx:9 failed: Unknown: no such host", "The registry http://a is down"},
		},
		"failed pulls, one problem for each name": {
			decisions: []numberedDecision{pull("a", "x", 0), pull("a", "x", time.Minute), pull("b", "y", 2*time.Minute)},
			level:     warning,
			problems:  []string{"PullImage of a failed: x", "PullImage of b failed: y"},
		},
		"many failed pulls": {
			decisions: []numberedDecision{pull("a", "x", 0), pull("b", "x", 0), pull("c", "x", 0), pull("d", "x", 0), pull("e", "x", 0), pull("f", "x", 0), pull("g", "x", 0)},
			level:     warning,
			problems:  []string{"PullImage of a", "PullImage of b", "PullImage of c", "PullImage of d", "PullImage of e", "More images with failed requests in the last 15 minutes: 2"},
		},
		"an image that no registry has": {
			decisions: []numberedDecision{absent("nginx:9")},
			level:     ok,
			problems:  []string{"No registry has nginx:9: NotFound: no such image"},
		},
		"an image that no registry has after one that failed": {
			decisions: []numberedDecision{absent("nginx:9"), pull("nginx", "timeout", time.Minute)},
			level:     warning,
			problems:  []string{"PullImage of nginx failed: timeout", "No registry has nginx:9"},
		},
		"a pull that succeeded in the end": {
			decisions: []numberedDecision{pull("nginx", "", 0), pull("nginx", "timeout", time.Minute)},
			level:     ok,
		},
		"long ago": {decisions: []numberedDecision{pull("nginx", "timeout", time.Hour)}, level: ok},
	} {
		t.Run(name, func(t *testing.T) {
			service := serving
			if test.change != nil {
				test.change(&service)
			}
			got := diagnose(noon, service, test.registries, test.decisions)
			if got.Level != test.level || len(got.Problems) != len(test.problems) {
				t.Fatalf("got %+v, want %s with %d problems", got, test.level, len(test.problems))
			}
			for i, problem := range got.Problems {
				if !strings.HasPrefix(problem.Text, test.problems[i]) {
					t.Errorf("got %q, want %q", problem.Text, test.problems[i])
				}
			}
			if isWell := strings.HasPrefix(got.Summary, "No problems"); isWell != (test.level == ok) {
				t.Errorf("the summary of %s is %q", test.level, got.Summary)
			}
		})
	}
}
