package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"image-cri-shim/config"
)

const (
	checkTimeout = 30 * time.Second
	outputLimit  = 1 << 20 // of the output of check and doctor, in bytes
)

// Check checks the configuration with the binary of the release, which must be installed, and
// returns it. The files that the configuration may name are only copied to a staging folder,
// because the running shim reads its own files at once. It also returns an error if another
// program uses the path of the socket. The error of an invalid configuration has the type
// [config.Problems].
//
// After a successful Check, the caller must call [Service.Apply] or [Service.Discard].
func (s *Service) Check(ctx context.Context, files Files) (*config.Config, error) {
	if err := files.Validate(); err != nil {
		return nil, err
	}
	// An earlier process may have been killed before the end of Apply.
	if err := s.Discard(); err != nil {
		return nil, err
	}
	settings, err := s.check(ctx, files)
	if err != nil {
		return nil, errors.Join(err, s.Discard())
	}
	return settings, nil
}

// Discard restores the files that an unfinished Apply has changed, and deletes the copies of Check.
func (s *Service) Discard() error {
	if err := s.saved.restoreAll(); err != nil {
		return fmt.Errorf("restore the former files: %w", err)
	}
	if before, known, err := s.nodeBefore(); known && err == nil && !before.Extras {
		removeIfEmpty(s.path(extrasFolder))
	}
	return s.unstage()
}

func (s *Service) check(ctx context.Context, files Files) (*config.Config, error) {
	if settings, err := files.parse(); err == nil { // otherwise the binary says what is wrong
		if err := files.checkNamed(settings); err != nil {
			return nil, err
		}
	}
	if err := s.stage(files); err != nil {
		return nil, err
	}
	warnings, err := runCheck(ctx, s.path(s.Binary()), s.withStagedPaths(files), s.withFinalPaths)
	if err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		s.log.Warn(warning)
	}
	plan, err := s.planOf(ctx, files)
	if err != nil {
		return nil, err
	}
	return plan.settings, s.checkConflicts(ctx, plan)
}

// runCheck runs `check` of a binary. The configuration passes through standard input, because
// other processes can read arguments. edit changes the texts of its messages.
func runCheck(ctx context.Context, binary string, configuration []byte, edit func(string) string) (warnings []config.Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var output, problem boundedOutput
	command := exec.CommandContext(ctx, binary, "check", "--output", "json", "--quiet", "-")
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(configuration), &output, &problem
	command.WaitDelay = time.Second
	runErr := command.Run()
	var result struct {
		Valid            bool
		Errors, Warnings []config.Message
	}
	if err := json.Unmarshal(output.Bytes(), &result); err != nil || result.Valid != (runErr == nil) {
		return nil, fmt.Errorf("run %s check: %w: %s", binary, errors.Join(runErr, ctx.Err()), strings.TrimSpace(problem.String()))
	}
	for _, messages := range [][]config.Message{result.Errors, result.Warnings} {
		for i := range messages {
			messages[i].File = strings.Replace(messages[i].File, "<stdin>", ConfigKey, 1)
			messages[i].Text, messages[i].Hint = edit(messages[i].Text), edit(messages[i].Hint)
		}
	}
	if !result.Valid {
		return nil, config.Problems(result.Errors)
	}
	return result.Warnings, nil
}

// boundedOutput keeps the first bytes that are written to it. It does not embed the buffer,
// because the buffer's ReadFrom would be used instead of Write.
type boundedOutput struct{ buffer bytes.Buffer }

func (b *boundedOutput) Write(p []byte) (int, error) {
	_, err := b.buffer.Write(p[:min(len(p), outputLimit-b.buffer.Len())])
	return len(p), err
}

func (b *boundedOutput) Bytes() []byte  { return b.buffer.Bytes() }
func (b *boundedOutput) String() string { return b.buffer.String() }
