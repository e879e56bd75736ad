package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// testResults returns the results of a short run.
func testResults() *results {
	many := testTable()
	many.Name, many.Workers = "Version, 32 at once", 32
	r := &results{Machine: machine{Cores: 2, Kernel: "Linux", Go: "go"}, Rounds: 3, Tables: []*table{testTable(), many}, Programs: []*figures{
		{Contender: "direct"}, {Contender: "relay"},
		{Contender: "shim, frames", Binary: 31, Start: spread{20, 10, 30, 3}, Idle: spread{20, 20, 20, 1}},
		{Contender: "shim, grpc", Missing: "not in this build"},
	}}
	r.Targets = judgeTargets(r)
	return r
}

func TestVerdicts(t *testing.T) {
	got := map[string]string{}
	for _, v := range testResults().Targets {
		got[v.Contender+": "+v.What] = v.Target + ": " + v.Met
	}
	for what, want := range map[string]string{
		"shim, frames: Version one at a time: added p50 to the relay's": "at most 1.30: met",
		"shim, frames: Version one at a time: added p50 to haproxy's":   "at most 1: missed",
		"shim, frames: Version 32 at once: throughput to the relay's":   "at least 0.950: missed",
		"shim, frames: 8 MiB 4 at once: throughput to the relay's":      "at least 0.950: not measured",
		"shim, frames: idle resident memory":                            "at most 20 MiB: met",
		"shim, frames: start to first answered call":                    "at most 100 ms: met",
		"shim, frames: binary":                                          "at most 30 MB: missed",
		"shim, grpc: idle resident memory":                              "at most 20 MiB: not in this build",
	} {
		if got[what] != want {
			t.Errorf("%s: got %q, want %q", what, got[what], want)
		}
	}
}

func TestFailuresAreReported(t *testing.T) {
	r := testResults()
	text := string(r.markdown())
	for _, want := range []string{
		"| shim, frames | 150 (150 to 300) | 0 | 0 | 50 (50 to 100) |",
		"| relay | failed after 2 rounds: it broke |",
		"| shim, grpc | not in this build |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
}

// A workload that fails on one of this project's contenders fails the run. Failures of
// other projects and missing contenders don't.
func TestOnlyOurOwnFailuresFailTheRun(t *testing.T) {
	r := testResults()
	r.Tables[0].Outcomes = append(r.Tables[0].Outcomes, &outcome{Contender: "shim, grpc", Failed: "not in this build"})
	if err := r.failure(); err == nil || !strings.Contains(err.Error(), "it broke") || strings.Contains(err.Error(), "build") {
		t.Errorf("got %v, want only the failure of the relay", err)
	}
	r.program("relay").Foreign = true
	if err := r.failure(); err != nil {
		t.Errorf("the failure of another project's contender fails the run: %v", err)
	}
}

func TestThePlotIsXML(t *testing.T) {
	r := testResults()
	r.Tables[0].Name = "Version <once> & again"
	decoder := xml.NewDecoder(strings.NewReader(string(r.plot())))
	var texts strings.Builder
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			texts.Write(data)
		}
	}
	for _, want := range []string{"Version <once> & again", "shim, frames", "failed"} {
		if !strings.Contains(texts.String(), want) {
			t.Errorf("the plot does not contain %q", want)
		}
	}
}
