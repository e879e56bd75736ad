package chart

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// TestFleetDocument requires that the chart accepts the values that docs/fleet.md shows, and has
// the values and defaults of its table.
func TestFleetDocument(t *testing.T) {
	content, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(content)
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(document)
	if example == nil {
		t.Fatal("docs/fleet.md shows no values")
	}
	rendered := render(t, example[1])
	if len(rendered.objects) < 3 {
		t.Errorf("the values render %d objects", len(rendered.objects))
	}

	loaded, err := loader.Load("image-cri-shim")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(document, "\n## Values\n")
	rows := 0
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \| (.*?) \| .* \|$`).FindAllStringSubmatch(table, -1) {
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1)
		defaults := regexp.MustCompile("[,;] ").Split(row[2], -1)
		for i, name := range names {
			rows++
			var value any = loaded.Values
			for part := range strings.SplitSeq(name[1], ".") {
				value = value.(map[string]any)[part]
			}
			written := strings.Trim(defaults[min(i, len(defaults)-1)], "`")
			text, _ := yaml.Marshal(value)
			got := strings.TrimSpace(string(text))
			switch got {
			case `""`, "[]", "{}":
				continue // described in words
			}
			if got = strings.Trim(got, `"`); got != written {
				t.Errorf("%s: docs/fleet.md has the default %q, the chart %q", name[1], written, got)
			}
		}
	}
	if rows < 15 {
		t.Errorf("the table has %d values, want at least 15", rows)
	}
	for _, name := range []string{"image-cri-shim-remove", "image-cri-shim.io/wave", "image-cri-shim.io/enabled"} {
		if !strings.Contains(document, name) {
			t.Errorf("docs/fleet.md does not name %s", name)
		}
	}
}
