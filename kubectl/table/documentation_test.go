package table

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"image-cri-shim/kubectl/fleet"
)

const manual = "../../docs/fleet.md"

// TestDocumentedExample requires that docs/fleet.md shows the table in its present form.
func TestDocumentedExample(t *testing.T) {
	f := &fleet.Fleet{
		Nodes: []fleet.Node{
			{
				Node: "node2", Version: "v0.1.0", Configuration: "7ae1bf0515+registry-login", State: fleet.Refused, Restarts: 1, Created: now.Add(-3 * time.Second), PullsFailing: new(0),
				Reason: "look up the registries: registries can't be reached: http://127.0.0.1:9: dial tcp 127.0.0.1:9: connect: connection refused",
			},
			{Node: "node1", Version: "v0.1.0", Configuration: "420bbd5b2d+registry-login", State: fleet.Ready, Ready: true, Created: now.Add(-18 * time.Second), PullsFailing: new(0)},
		},
		Summary: fleet.Summary{
			Nodes: 2, Ready: 1, States: map[fleet.State]int{fleet.Ready: 1, fleet.Refused: 1}, Versions: map[string]int{"v0.1.0": 2},
			Configurations: map[string]int{"420bbd5b2d+registry-login": 1, "7ae1bf0515+registry-login": 1}, PullsFailing: new(0),
		},
	}
	if want := "```console\n$ kubectl image-cri-shim\n" + text(t, f, Options{Width: 132}) + "```\n"; !strings.Contains(section(t), want) {
		t.Errorf("%s does not have this example:\n%s", manual, want)
	}
}

// TestFieldsAreDocumented requires that docs/fleet.md lists the fields of the JSON object, and no
// others.
func TestFieldsAreDocumented(t *testing.T) {
	_, list, _ := strings.Cut(section(t), "| field | meaning |")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(list, -1) {
		for _, name := range strings.Split(row[1], ", ") {
			documented = append(documented, strings.Trim(name, "`"))
		}
	}
	if want := fieldNames("", reflect.TypeFor[fleet.Fleet]()); !slices.Equal(slices.Sorted(slices.Values(documented)), slices.Sorted(slices.Values(want))) {
		t.Errorf("%s lists the fields\n%q, want\n%q", manual, documented, want)
	}
}

// fieldNames returns the paths of a type's fields in JSON.
func fieldNames(prefix string, of reflect.Type) (names []string) {
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "" {
			continue
		}
		name, inner := prefix+name, field.Type
		if inner.Kind() == reflect.Slice {
			name, inner = name+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
			names = append(names, fieldNames(name+".", inner)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// TestStatesAreDocumented requires that docs/fleet.md describes each state.
func TestStatesAreDocumented(t *testing.T) {
	_, list, _ := strings.Cut(section(t), "| state | meaning |")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, state := range fleet.States {
		if !strings.Contains(list, "\n| `"+string(state)+"` | ") {
			t.Errorf("%s does not describe the state %s", manual, state)
		}
	}
	if rows := strings.Count(list, "\n| `"); rows != len(fleet.States) {
		t.Errorf("%s describes %d states, want %d", manual, rows, len(fleet.States))
	}
}

// section returns the section about the plugin.
func section(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(content), "\n### With kubectl\n")
	if !found {
		t.Fatalf("%s has no section about the plugin", manual)
	}
	text, _, _ = strings.Cut(text, "\n### ")
	return text
}
