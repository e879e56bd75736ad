package doctor

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	a, b := topic{"runtime", "/run/x.sock"}, topic{"shim", "/s\nFAIL forged"}
	r := newReport([]Finding{a.ok("fine"), b.warn("do\tthis", "%s", "two\nlines"), a.fail("that", "bad %s", strings.Repeat("x", 2000))})
	var text, json strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	if len(lines) != 7 || lines[0] != "OK    runtime  /run/x.sock     fine" || lines[1] != "WARN  shim     /s FAIL forged  two lines" ||
		lines[2] != "      do: do this" || len(lines[3]) > 1100 || lines[5] != "1 OK, 1 WARN, 1 FAIL" {
		t.Errorf("%q", lines)
	}
	if err := r.WriteJSON(&json); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(json.String(), `"level": "FAIL"`) || strings.Count(json.String(), `"hint"`) != 2 {
		t.Error(json.String())
	}
}
