package testbed

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Decision is the shim's log line about one image name.
type Decision struct {
	Method                          string // "PullImage"
	Asked, Served, Registry, Reason string
	Namespace, Pod                  string // of the pod for which the image is pulled
	Tried                           string // registries that did not serve a failed pull
	Names                           string // where the requested name of a pulled image is kept
	Level                           string // "info"
}

// Decision waits until the shim has logged a call of method with the image name asked,
// and returns the latest such line.
func (s *Shim) Decision(ctx context.Context, method, asked string) (Decision, error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		decisions, err := s.decisions()
		if err != nil {
			return Decision{}, err
		}
		for _, decision := range slices.Backward(decisions) {
			if decision.Method == method && decision.Asked == asked {
				return decision, nil
			}
		}
		select {
		case <-ctx.Done():
			return Decision{}, fmt.Errorf("the shim has logged no %s of %s: %w", method, asked, ctx.Err())
		case <-ticker.C:
		}
	}
}

// decisions returns the log lines about image names, oldest first.
func (s *Shim) decisions() ([]Decision, error) {
	content, err := os.ReadFile(s.Log())
	if err != nil {
		return nil, fmt.Errorf("read the shim's log: %w", err)
	}
	var decisions []Decision
	for line := range strings.Lines(string(content)) {
		fields := logFields(strings.TrimSuffix(line, "\n"))
		if _, ok := fields["asked"]; ok {
			decisions = append(decisions, Decision{
				Method: fields["msg"], Asked: fields["asked"], Served: fields["served"],
				Registry: fields["registry"], Reason: fields["reason"], Names: fields["names"], Level: fields["level"],
				Namespace: fields["namespace"], Pod: fields["pod"], Tried: fields["tried"],
			})
		}
	}
	return decisions, nil
}
