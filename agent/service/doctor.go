package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"image-cri-shim/printable"
)

const (
	doctorTimeout = 30 * time.Second
	problemLimit  = 1000 // of the error output of the doctor in an error, in bytes
)

// Finding is a failure that the doctor has found on the node. Its texts have no secrets.
type Finding struct {
	Check, Subject, Text string
	Hint                 string // remedy
}

// Examine runs `doctor` of the binary of the release, and returns its findings of level FAIL. The
// doctor looks up a sample of the images, because all nodes of a cluster run it repeatedly.
func (s *Service) Examine(ctx context.Context) ([]Finding, error) {
	return runDoctor(ctx, doctorTimeout, s.path(s.Binary()), s.configFile())
}

const wrongArguments = 64 // exit code of the doctor

func runDoctor(ctx context.Context, timeout time.Duration, binary, file string) (failures []Finding, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	arguments := []string{"doctor", "--output", "json", "--quiet", "--file", file}
	output, problem, runErr := execute(ctx, binary, append(arguments, "--sample")...)
	if exit, ok := errors.AsType[*exec.ExitError](runErr); ok && exit.ExitCode() == wrongArguments { // an older shim of a package
		output, problem, runErr = execute(ctx, binary, arguments...)
	}
	if exit, ok := errors.AsType[*exec.ExitError](runErr); ok && exit.ExitCode() == 2 { // a check fails
		runErr = nil
	}
	var report struct {
		Level    string
		Findings []struct {
			Finding
			Level string
		}
	}
	decodeErr := json.Unmarshal(output.Bytes(), &report)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case runErr != nil:
		err = runErr
	case decodeErr != nil:
		err = fmt.Errorf("parse its report: %w", decodeErr)
	case !slices.Contains([]string{"OK", "WARN", "FAIL"}, report.Level):
		err = fmt.Errorf("parse its report: unknown level %q", report.Level)
	}
	if err != nil {
		err = fmt.Errorf("run %s doctor: %w", binary, err)
		if text := printable.Line(problem.String(), problemLimit); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, err
	}
	for _, finding := range report.Findings {
		if finding.Level == "FAIL" {
			failures = append(failures, finding.Finding)
		}
	}
	return failures, nil
}

func execute(ctx context.Context, binary string, arguments ...string) (output, problem *boundedOutput, err error) {
	output, problem = &boundedOutput{}, &boundedOutput{}
	command := exec.CommandContext(ctx, binary, arguments...)
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	command.Stdout, command.Stderr = output, problem
	command.WaitDelay = time.Second
	return output, problem, command.Run()
}
