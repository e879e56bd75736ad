package table

import (
	"strings"
	"testing"
	"time"

	"image-cri-shim/kubectl/fleet"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// nodes returns two nodes of one release.
func nodes() *fleet.Fleet {
	return &fleet.Fleet{
		Nodes: []fleet.Node{
			{
				Node: "node-with-a-long-name", Namespace: "image-cri-shim", Release: "shim", Pod: "agent-x", Component: "agent",
				Version: "v0.2.0", Configuration: "7ae1bf0515", State: fleet.Refused, Reason: "look up the registries: " + strings.Repeat("é", 100),
				Restarts: 12, Created: now.Add(-90 * time.Second), PullsFailing: new(3),
				ImagesFailing: []fleet.FailingPull{{Image: "nginx:9", Containers: 2}},
			},
			{
				Node: "b", Namespace: "image-cri-shim", Release: "shim", Pod: "agent-y", Component: "agent",
				Version: "v0.1.0", Configuration: "420bbd5b2d", State: fleet.Ready, Ready: true, Created: now.Add(-50 * time.Hour), PullsFailing: new(0),
			},
		},
		Summary: fleet.Summary{
			Nodes: 2, Ready: 1, States: map[fleet.State]int{fleet.Refused: 1, fleet.Ready: 1},
			Versions: map[string]int{"v0.2.0": 1, "v0.1.0": 1}, Configurations: map[string]int{"7ae1bf0515": 1, "420bbd5b2d": 1}, PullsFailing: new(3),
		},
	}
}

// TestTable requires aligned columns, and that a reason is cut to the width of the terminal
// unless the table is wide or the output is no terminal.
func TestTable(t *testing.T) {
	const summary = "2 nodes: 1 ready, 1 refused; versions v0.1.0 (1), v0.2.0 (1); configurations 420bbd5b2d (1), 7ae1bf0515 (1); 3 pulls failing\n"
	full := "look up the registries: " + strings.Repeat("é", 100)
	const title = "NODE                    VERSION   CONFIGURATION   STATE     RESTARTS   AGE    PULLS FAILING   REASON\n"
	const first = "node-with-a-long-name   v0.2.0    7ae1bf0515      refused   12         90s    3               "
	const second = "b                       v0.1.0    420bbd5b2d      ready     0          2d2h   0               -\n"
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"terminal":    {Options{Width: len(first) + 40}, title + first + "look up the registries: " + strings.Repeat("é", 13) + "...\n" + second},
		"narrow":      {Options{Width: 40}, title + first + "look up the regis...\n" + second},
		"no terminal": {Options{}, title + first + full + "\n" + second},
		"wide": {Options{Wide: true, Width: 40}, "" +
			"NODE                    RELEASE               VERSION   CONFIGURATION   STATE     RESTARTS   AGE    PULLS FAILING   POD       IMAGES FAILING   REASON\n" +
			"node-with-a-long-name   image-cri-shim/shim   v0.2.0    7ae1bf0515      refused   12         90s    3               agent-x   nginx:9,...      " + full + "\n" +
			"b                       image-cri-shim/shim   v0.1.0    420bbd5b2d      ready     0          2d2h   0               agent-y   -                -\n"},
	} {
		if got := text(t, nodes(), test.options); got != test.want+summary {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, test.want+summary)
		}
	}
}

// TestUnknown requires that a table says which parts are unknown, and that several releases have
// a column.
func TestUnknown(t *testing.T) {
	f := nodes()
	f.Nodes[1].Release, f.Nodes[1].PullsFailing = "other", nil
	f.Notes = []string{"pulls failing: unknown"}
	got := text(t, f, Options{})
	for _, want := range []string{"RELEASE", "image-cri-shim/other", "not permitted", "\nnote: pulls failing: unknown\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	f.Nodes = nil
	if got := text(t, f, Options{}); !strings.HasPrefix(got, "2 nodes: ") {
		t.Errorf("without rows: %q, want only the summary and notes", got)
	}
}

func TestSummary(t *testing.T) {
	many := map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7}
	for want, s := range map[string]fleet.Summary{
		"1 node: 1 ready; version v1; configuration c":                                             {Nodes: 1, States: map[fleet.State]int{fleet.Ready: 1}, Versions: map[string]int{"v1": 1}, Configurations: map[string]int{"c": 1}, PullsFailing: new(0)},
		"1 node: 1 removed; 1 pull failing":                                                        {Nodes: 1, States: map[fleet.State]int{fleet.Removed: 1}, PullsFailing: new(1)},
		"28 nodes: 28 ready; version v1; configurations g (7), f (6), e (5), d (4), c (3), 2 more": {Nodes: 28, States: map[fleet.State]int{fleet.Ready: 28}, Versions: map[string]int{"v1": 28}, Configurations: many},
	} {
		if got := summary(s); got != want {
			t.Errorf("the summary is %q, want %q", got, want)
		}
	}
}

func text(t *testing.T, f *fleet.Fleet, options Options) string {
	t.Helper()
	var b strings.Builder
	options.Now = now
	if err := Write(&b, f, options); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
