package critest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// originalDigest is the digest of the image that the suite pulls by digest.
const originalDigest = "sha256:9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf"

// useStandIn replaces that digest in a built critest by the digest of the substitute, which has
// the same length. The original image can't be built.
func useStandIn(binary string) error {
	index, err := digestImage().index()
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	original, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	changed := bytes.ReplaceAll(original, []byte(originalDigest), []byte(digest.String()))
	if bytes.Equal(changed, original) {
		return fmt.Errorf("%s does not contain the digest %s", binary, originalDigest)
	}
	return os.WriteFile(binary, changed, 0o700)
}

// state is the final state of a spec of the suite.
type state string

const (
	passed  state = "passed"
	failed  state = "failed"
	skipped state = "skipped"
	absent  state = "absent" // not in the report
)

// result is the outcome of one spec.
type result struct {
	State   state
	Message string // the reason for a failure or skip
}

// report maps the names of specs to their results.
type report map[string]result

func (r report) result(spec string) result {
	if result, ok := r[spec]; ok {
		return result
	}
	return result{State: absent}
}

// count returns the number of specs in a state.
func (r report) count(s state) int {
	count := 0
	for _, result := range r {
		if result.State == s {
			count++
		}
	}
	return count
}

func (r report) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", r.count(passed), r.count(failed), r.count(skipped))
}

// suiteTimeout is the timeout of a run of the whole suite.
const suiteTimeout = 15 * time.Minute

// runSuite runs the spec with this name on a node, or all specs if the name is empty. critest
// runs in containerd's namespaces, like a program on containerd's host.
func runSuite(ctx context.Context, critest string, node *node, spec string) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, suiteTimeout)
	defer cancel()
	files, err := os.MkdirTemp(node.folder, "suite-")
	if err != nil {
		return nil, err
	}
	output := filepath.Join(files, "report.json")
	arguments := []string{
		"-runtime-endpoint", "unix://" + node.socket(), "-image-endpoint", "unix://" + node.socket(),
		"--ginkgo.seed", "1", "--ginkgo.no-color", "--ginkgo.json-report", output, "--ginkgo.timeout", suiteTimeout.String(),
	}
	if node.containerd.Command(ctx, "test", "-S", nriSocket).Run() == nil {
		arguments = append(arguments, "-nri-socket", nriSocket) // containerd 2 has NRI
	}
	if spec != "" {
		arguments = append(arguments, "--ginkgo.focus", " "+regexp.QuoteMeta(spec)+"$")
	}
	cmd := node.containerd.Command(ctx, critest, arguments...)
	cmd.Dir, cmd.Env = files, append(os.Environ(), "TMPDIR="+files)
	printed, runError := cmd.CombinedOutput() // it is an error if specs fail
	content, err := os.Open(output)
	if err != nil {
		return nil, fmt.Errorf("critest has written no report: %w\n%s", errors.Join(err, runError), printed[max(0, len(printed)-4096):])
	}
	defer func() { _ = content.Close() }()
	return readReport(content)
}

// suiteReport is the part of ginkgo's JSON report that the tests read.
type suiteReport struct {
	SpecialSuiteFailureReasons []string
	SpecReports                []specReport
}

type specReport struct {
	ContainerHierarchyTexts []string
	LeafNodeType            string
	LeafNodeText            string
	State                   string
	RunTime                 time.Duration
	Failure                 struct{ Message string }
}

// readReport parses ginkgo's JSON report. It leaves out specs that were not selected.
func readReport(content io.Reader) (report, error) {
	var suites []suiteReport
	if err := json.NewDecoder(content).Decode(&suites); err != nil {
		return nil, fmt.Errorf("read ginkgo's report: %w", err)
	}
	report := make(report)
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if err := report.add(spec); err != nil {
				return nil, err
			}
		}
	}
	return report, nil
}

func (r report) add(spec specReport) error {
	name := strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), " ")
	if spec.LeafNodeType != "It" {
		if spec.State != "passed" {
			return fmt.Errorf("the suite's %s %s: %s", spec.LeafNodeType, spec.State, spec.Failure.Message)
		}
		return nil
	}
	if spec.State == "skipped" && spec.Failure.Message == "" && spec.RunTime == 0 {
		return nil // not selected; critest never selects its benchmarks
	}
	if _, twice := r[name]; twice {
		return fmt.Errorf("two specs are called %q", name)
	}
	switch spec.State {
	case "passed":
		r[name] = result{State: passed}
	case "skipped", "pending":
		r[name] = result{skipped, spec.Failure.Message}
	case "failed", "panicked", "timedout", "interrupted", "aborted":
		r[name] = result{failed, spec.Failure.Message}
	default:
		return fmt.Errorf("%q ended as %q", name, spec.State)
	}
	return nil
}
