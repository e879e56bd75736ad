package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// panel is the part of a dashboard's panel that the tests read.
type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ RefID, Expr string }
}

// panels returns the panels of a dashboard and their expressions as Prometheus gets them.
func panels(t *testing.T, file string) (panels []panel, expressions []string) {
	t.Helper()
	var board struct {
		UID, Title    string
		SchemaVersion int
		Links         []struct{ URL string }
		Templating    struct{ List []struct{ Name, Type string } }
		Panels        []panel
	}
	if err := json.Unmarshal([]byte(readFile(t, file)), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID != strings.TrimSuffix(filepath.Base(file), ".json") || board.Title == "" || board.SchemaVersion != 39 || len(board.Templating.List) != 2 {
		t.Errorf("unexpected dashboard %+v", board)
	}
	for _, link := range board.Links {
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), strings.TrimPrefix(link.URL, "/d/")+".json")); err != nil {
			t.Errorf("%s: the link leads to no dashboard: %v", file, err)
		}
	}
	replacer := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			expressions = append(expressions, replacer.Replace(target.Expr))
		}
	}
	return board.Panels, expressions
}

// TestDashboards requires that each panel has a position and a unique name, as Grafana needs,
// and that Prometheus can parse the expressions.
func TestDashboards(t *testing.T) {
	for file, first := range map[string]string{dashboard: "Pulls failing now", fleetDashboard: "Nodes"} {
		t.Run(filepath.Base(file), func(t *testing.T) { testDashboard(t, file, first) })
	}
}

func testDashboard(t *testing.T, file, first string) {
	panels, expressions := panels(t, file)
	if panels[1].Title != first || panels[1].GridPos.Y != 1 {
		t.Errorf("the first panel is %+v, want %s", panels[1], first)
	}
	seen, places := map[string]bool{}, map[[2]int]string{}
	once := func(kind, value string) {
		if value == "" || seen[kind+value] {
			t.Errorf("a panel's %s is %q, which is empty or not unique", kind, value)
		}
		seen[kind+value] = true
	}
	for _, p := range panels {
		once("title ", p.Title)
		once("ID ", fmt.Sprint(p.ID))
		if (p.Type == "row") != (len(p.Targets) == 0) || p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("unexpected panel %+v", p)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := places[[2]int{x, y}]; taken {
					t.Fatalf("%s overlaps %s", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			once("query ", p.Title+target.RefID)
		}
	}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, expression := range expressions {
		fmt.Fprintf(&rules, "  - record: panel:%d\n    expr: %q\n", i, expression)
	}
	queries := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(queries, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "rules", queries)
}
