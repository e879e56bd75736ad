package critest

import (
	"slices"
	"strings"
	"testing"
)

func TestReadReport(t *testing.T) {
	const content = `[{"SpecReports": [
	  {"LeafNodeType": "BeforeSuite", "State": "passed"},
	  {"LeafNodeType": "It", "ContainerHierarchyTexts": ["[k8s.io] Image", "pull"], "LeafNodeText": "passes", "State": "passed", "RunTime": 5},
	  {"LeafNodeType": "It", "LeafNodeText": "panics", "State": "panicked", "Failure": {"Message": "nil"}},
	  {"LeafNodeType": "It", "LeafNodeText": "skips", "State": "skipped", "RunTime": 1, "Failure": {"Message": "no AppArmor"}},
	  {"LeafNodeType": "It", "LeafNodeText": "is a benchmark", "State": "skipped"}]}]`
	got, err := readReport(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	want := report{"[k8s.io] Image pull passes": {State: passed}, "panics": {failed, "nil"}, "skips": {skipped, "no AppArmor"}}
	if specs, _ := differing(want, got); len(specs) > 0 || got["panics"] != want["panics"] || got["skips"] != want["skips"] {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := got.String(), "1 passed, 1 failed, 1 skipped"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, bad := range []string{
		`{}`,
		`[{"SpecReports": [{"LeafNodeType": "BeforeSuite", "State": "failed"}]}]`,
		`[{"SpecReports": [{"LeafNodeType": "It", "LeafNodeText": "a", "State": "unheard of"}]}]`,
		`[{"SpecReports": [{"LeafNodeType": "It", "LeafNodeText": "a", "State": "passed"}, {"LeafNodeType": "It", "LeafNodeText": "a", "State": "passed"}]}]`,
	} {
		if report, err := readReport(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is read as %v", bad, report)
		}
	}
}

func TestDiffering(t *testing.T) {
	want := report{"same": {passed, ""}, "other text": {failed, "id 1"}, "fails": {passed, ""}, "gone": {skipped, ""}, races[0]: {skipped, ""}, races[1]: {passed, ""}}
	got := report{"same": {passed, ""}, "other text": {failed, "id 2"}, "fails": {failed, ""}, "new": {passed, ""}, races[0]: {passed, ""}, races[1]: {failed, ""}}
	specs, raced := differing(want, got)
	if want := []string{races[1], "fails", "gone", "new"}; !slices.Equal(specs, want) {
		t.Errorf("differing specs: got %q, want %q", specs, want)
	}
	if want := races[:1]; !slices.Equal(raced, want) {
		t.Errorf("races: got %q, want %q", raced, want)
	}
}

func TestIsFlaky(t *testing.T) {
	ended := func(states ...state) (results []result) {
		for _, state := range states {
			results = append(results, result{State: state})
		}
		return results
	}
	for _, test := range []struct {
		name          string
		want, got     state
		direct, again []result
		flaky         bool
	}{
		{"failed once", passed, failed, ended(passed, passed), ended(passed, passed), true},
		{"fails in the suite only", passed, failed, ended(passed, passed), ended(passed, passed, failed), false},
		{"failed once more", passed, failed, ended(passed, passed), ended(passed, failed), false},
		{"fails", passed, failed, ended(passed, passed), ended(failed, failed), false},
		{"fails directly too", passed, failed, ended(passed, failed), ended(failed, failed), true},
		{"failed directly once", failed, passed, ended(passed, passed), ended(passed, passed), true},
		{"is skipped", passed, skipped, ended(passed, failed), ended(skipped, passed), false},
		{"was not run again", passed, failed, nil, nil, false},
	} {
		d := difference{spec: test.name, want: result{State: test.want}, got: result{State: test.got}, direct: test.direct, again: test.again}
		if got := d.isFlaky(); got != test.flaky {
			t.Errorf("got %v, want %v: %s", got, test.flaky, d)
		}
	}
}
