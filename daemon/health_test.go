package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReadyzShowsAllProblems requires that the answer has each problem of a configuration
// with many.
func TestReadyzShowsAllProblems(t *testing.T) {
	var problems []error
	for line := range 200 {
		problems = append(problems, fmt.Errorf("image-cri-shim.yaml:%d: unknown key, expected one of address, auth", line))
	}
	response := httptest.NewRecorder()
	writeChecks(response, check{"socket", nil}, check{"configuration", errors.Join(problems...)})
	if response.Code != http.StatusServiceUnavailable {
		t.Errorf("code %d", response.Code)
	}
	body := response.Body.String()
	for _, problem := range problems {
		if !strings.Contains(body, problem.Error()) {
			t.Fatalf("no %q in %d bytes", problem, len(body))
		}
	}
	if lines := strings.Count(body, "\n"); lines != 2 {
		t.Errorf("%d lines, want 2", lines)
	}
}
