package status

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStateAt requires that a status is stale after some minutes, also if the clock was set back,
// and that one of an agent without states has a state.
func TestStateAt(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		status Status
		age    time.Duration
		want   State
	}{
		{Status{State: Ready, Ready: true}, 0, Ready},
		{Status{State: Ready, Ready: true}, maxAge, Ready},
		{Status{State: Ready, Ready: true}, maxAge + 1, Stale},
		{Status{State: Removed, Ready: true}, -maxAge - 1, Stale},
		{Status{State: Refused, Reason: "a"}, 0, Refused},
		{Status{Ready: true}, 0, Ready},
		{Status{}, 0, Applying},
	} {
		c.status.Updated = now.Add(-c.age)
		if got := c.status.StateAt(now); got != c.want {
			t.Errorf("%+v after %s: state %q, want %q", c.status, c.age, got, c.want)
		}
		at := c.status.At(now)
		if at.State != c.want || at.Ready != (c.status.CheckReady(now) == nil) || at.Ready != (at.Reason == "") {
			t.Errorf("%+v after %s: got %+v", c.status, c.age, at)
		}
	}
}

// TestExplain requires that the name of a step is separated from its reason.
func TestExplain(t *testing.T) {
	failure := &Failure{Step: "probe the shim"}
	for _, c := range []struct {
		status             Status
		reason, step, text string
	}{
		{Status{Failure: failure}, "probe the shim: no answer", "probe the shim", "no answer"},
		{Status{Failure: failure}, "kubelet: no answer", "", "kubelet: no answer"},
		{Status{Failure: failure, Step: "install the binary"}, "probe the shim: no answer", "install the binary", "probe the shim: no answer"},
		{Status{}, "probe the shim: no answer", "", "probe the shim: no answer"},
	} {
		if step, text := c.status.Explain(errors.New(c.reason)); step != c.step || text != c.text {
			t.Errorf("%q: step %q, text %q, want %q and %q", c.reason, step, text, c.step, c.text)
		}
	}
}

// TestFieldsAreDocumented requires that docs/fleet.md and its translation list exactly the fields
// of the JSON, and the states.
func TestFieldsAreDocumented(t *testing.T) {
	want := fields(reflect.TypeFor[Status](), "")
	for _, state := range States {
		want = append(want, string(state))
	}
	slices.Sort(want)
	for document, heading := range map[string]string{
		"../../docs/fleet.md": "\n### On a node\n", "../../docs/fleet.zh-CN.md": "\n### 在节点上\n",
	} {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(content), heading)
		section, _, _ = strings.Cut(section, "\n### ")
		var found []string
		for _, row := range regexp.MustCompile(`(?m)^\| (`+"`"+`.*?) \|`).FindAllStringSubmatch(section, -1) {
			for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
				found = append(found, name[1])
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, want) {
			t.Errorf("%s lists %q, want %q", document, found, want)
		}
	}
}

// fields returns the names of all fields in the JSON of a type.
func fields(of reflect.Type, prefix string) (names []string) {
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		name = prefix + name
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			name, inner = name+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
			names = append(names, fields(inner, name+".")...)
			continue
		}
		names = append(names, name)
	}
	return names
}
