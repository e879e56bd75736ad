package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
)

const (
	probeTimeout  = 10 * time.Second // of one attempt
	probeAttempts = 3                // the runtime's status may change between the two calls
)

// Probe requests Version and Status through the shim's socket and from the runtime, and returns
// an error if the answers differ.
func (s *Service) Probe(ctx context.Context) error {
	settings, err := config.Load(s.configFile())
	if err != nil {
		return fmt.Errorf("probe the shim: %w", err)
	}
	runtime := settings.Runtime
	if runtime == "" {
		if runtime, err = config.DetectRuntime(ctx); err != nil {
			return fmt.Errorf("probe the shim: %w", err)
		}
	}
	for attempt := 1; ; attempt++ {
		err = probe(ctx, s.path(settings.Shim), s.path(runtime))
		if err == nil || attempt == probeAttempts || !pause(ctx) {
			return err
		}
	}
}

// probe compares the answers on two sockets.
func probe(ctx context.Context, shim, runtime string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	expected, err := answersOf(ctx, runtime)
	if err != nil {
		return fmt.Errorf("the runtime does not answer on %s: %w", runtime, err)
	}
	found, err := answersOf(ctx, shim)
	if err != nil {
		return fmt.Errorf("the shim does not answer on %s: %w", shim, err)
	}
	if !slices.Equal(found, expected) {
		return fmt.Errorf("the shim's answers on %s differ from those of the runtime on %s: %q and %q", shim, runtime, found, expected)
	}
	return nil
}

// answersOf returns the version and the conditions that a CRI socket answers with.
func answersOf(ctx context.Context, socket string) (answers []string, err error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	client := runtimeapi.NewRuntimeServiceClient(connection)
	version, err := client.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return nil, fmt.Errorf("call Version: %w", err)
	}
	status, err := client.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("call Status: %w", err)
	}
	answers = []string{version.GetRuntimeName(), version.GetRuntimeVersion(), version.GetRuntimeApiVersion()}
	for _, condition := range status.GetStatus().GetConditions() {
		answers = append(answers, fmt.Sprintf("%s=%t", condition.GetType(), condition.GetStatus()))
	}
	return answers, nil
}
