package critest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// races are specs that either pass or are skipped on an unmodified containerd 2: they are
// skipped if containerd loses a container that is created while an NRI plugin connects.
var races = []string{
	"[k8s.io] NRI plugin synchronization should receive a callback for container created during the Synchronize call",
	"[k8s.io] NRI plugin synchronization should receive information about all containers without the race condition during initialization",
}

// differing returns the names of the specs whose states differ or that are in only one of the
// reports. It returns separately the races that passed in one report and were skipped in the
// other.
func differing(want, got report) (specs, raced []string) {
	for _, spec := range slices.Sorted(maps.Keys(merge(want, got))) {
		pair := []state{want.result(spec).State, got.result(spec).State}
		slices.Sort(pair)
		switch {
		case pair[0] == pair[1]:
		case slices.Contains(races, spec) && slices.Equal(pair, []state{passed, skipped}):
			raced = append(raced, spec)
		default:
			specs = append(specs, spec)
		}
	}
	return specs, raced
}

// merge returns a report with the specs of both.
func merge(a, b report) report {
	merged := maps.Clone(a)
	maps.Copy(merged, b)
	return merged
}

// difference is a spec whose states differ, with the results of its repetitions.
type difference struct {
	spec          string
	want, got     result   // without and with the shim
	direct, again []result // repetitions: without the shim, alone; with the shim, alone and then in the suite
}

// isFlaky reports whether each repeated result with the shim was also seen without it. A spec
// that always passes without the shim must therefore pass each time with it.
func (d difference) isFlaky() bool {
	for _, result := range d.again {
		if result.State != d.want.State && !slices.ContainsFunc(d.direct, hasState(result.State)) {
			return false
		}
	}
	return len(d.again) > 0
}

func hasState(state state) func(result) bool {
	return func(result result) bool { return result.State == state }
}

func (d difference) String() string {
	return fmt.Sprintf("%s\n  directly: %s, then alone %s\n  through the shim: %s, then alone and in the suite %s\n%s", d.spec,
		d.want.State, states(d.direct), d.got.State, states(d.again), d.message())
}

// message returns the first message of a result with the shim, or else of one without it.
func (d difference) message() string {
	message := ""
	for _, result := range slices.Concat(d.again, []result{d.got}, d.direct, []result{d.want}) {
		message = cmp.Or(message, result.Message)
	}
	return message
}

func states(results []result) string {
	var states []string
	for _, result := range results {
		states = append(states, string(result.State))
	}
	return strings.Join(states, ", ")
}

// requireEqual requires that the results of two runs of the suite are equal. Otherwise the jobs
// that made the reports repeat each differing spec alone, and the whole suite once more
// through the shim, because a fault may depend on the specs before it.
func requireEqual(t *testing.T, want, got report, direct, through job) {
	t.Helper()
	specs, raced := differing(want, got)
	for _, spec := range raced {
		t.Logf("without the shim %s, with the shim %s, because of a race in containerd: %s", want[spec].State, got[spec].State, spec)
	}
	if len(specs) == 0 {
		return
	}
	t.Logf("%d specs differ and are repeated: %q", len(specs), specs)
	var alone, again []report
	var suite report
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() (err error) {
		alone, err = direct.rerun(specs).run(ctx)
		return err
	})
	group.Go(func() (err error) {
		again, err = through.rerun(specs).run(ctx)
		return err
	})
	err := group.Wait()
	if err == nil {
		suite, err = through.report(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range specs {
		d := difference{spec: spec, want: want.result(spec), got: got.result(spec)}
		d.direct = results(spec, alone...)
		d.again = results(spec, append(again, suite)...)
		if d.isFlaky() {
			t.Logf("flaky: %s", d)
		} else {
			t.Errorf("differs: %s", d)
		}
	}
}

// results returns the results of a spec in reports.
func results(spec string, reports ...report) []result {
	var results []result
	for _, report := range reports {
		results = append(results, report.result(spec))
	}
	return results
}
