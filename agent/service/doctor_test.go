package service

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The real doctor reports a registry that refuses the login, without the password, although the
// registry repeats it.
func TestExamine(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	if err := s.InstallBinary(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		sent <- password
		w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "no such login: %s:%s"}]}`, user, password)
	}))
	defer server.Close()
	configuration := fmt.Sprintf("address: %s\nauth: 'admin:canary-secret'\ncri: /run/missing.sock\n", server.URL)
	if err := os.WriteFile(s.configFile(), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	failures, err := s.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(failures, func(f Finding) bool {
		return f.Check == "login" && f.Subject == server.URL && f.Text != "" && f.Hint != ""
	}) {
		t.Errorf("no finding about the login: %+v", failures)
	}
	if strings.Contains(fmt.Sprintf("%+v", failures), "canary") {
		t.Errorf("the password is in the findings: %+v", failures)
	}
	close(sent)
	var passwords []string
	for password := range sent {
		passwords = append(passwords, password)
	}
	if !slices.Contains(passwords, "canary-secret") {
		t.Error("the doctor did not log in")
	}
	if err := os.Remove(s.path(s.Binary())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Examine(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("error without the binary: %v", err)
	}
}

// The time and the output of the doctor are bounded, and its report must be complete.
func TestDoctorRuns(t *testing.T) {
	folder := t.TempDir()
	for name, c := range map[string]struct {
		script  string
		want    []Finding
		wantErr string
	}{
		"failures": {`echo '{"level": "FAIL", "findings": [
			{"check": "kubelet", "subject": "/a", "level": "FAIL", "text": "t", "hint": "h", "commands": ["c"]},
			{"check": "crictl", "subject": "/b", "level": "WARN", "text": "t", "hint": "h"}]}'; exit 2`, []Finding{{"kubelet", "/a", "t", "h"}}, ""},
		"well":            {`echo '{"level": "OK", "findings": []}'`, nil, ""},
		"arguments":       {`[ "$*" = "doctor --output json --quiet --file /file --sample" ] && echo '{"level": "OK"}'`, nil, ""},
		"older shim":      {`[ "$7" = --sample ] && exit 64; echo '{"level": "OK"}'`, nil, ""},
		"wrong arguments": {`echo '{"level": "OK"}'; echo unknown option >&2; exit 64`, nil, "exit status 64: unknown option"},
		"no report":       {`exit 2`, nil, "parse its report: unexpected end of JSON input"},
		"another program": {`echo '{}'`, nil, `parse its report: unknown level ""`},
		"much output":     {`echo '{"level": "OK", "findings": ['; head -c 3000000 /dev/zero | tr '\0' ' '; echo ']}'`, nil, "parse its report: unexpected end of JSON input"},
		"hangs":           {`echo '{"level": "OK"}'; exec sleep 60`, nil, "context deadline exceeded"},
		"child hangs":     {`echo '{"level": "OK"}'; sleep 5 & exit 0`, nil, "WaitDelay"},
	} {
		binary := filepath.Join(folder, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { // after all scripts are written
			t.Parallel()
			start := time.Now()
			failures, err := runDoctor(t.Context(), 3*time.Second, binary, "/file")
			if (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) || !slices.Equal(failures, c.want) {
				t.Errorf("got %+v, %v; want %+v, %q", failures, err, c.want, c.wantErr)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
