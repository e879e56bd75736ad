package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the program instead of the tests if the first argument is a number, for the
// tests in e2e/machine_agent_test.go. The process then kills itself before the step with this
// number; no step has a negative one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if number, err := strconv.Atoi(os.Args[1]); err == nil {
			os.Exit(runUntil(number, os.Args[2:]))
		}
	}
	goleak.VerifyTestMain(m)
}

func runUntil(number int, arguments []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	count := 0
	p := program{step: func(name string) {
		if count == number {
			fmt.Fprintln(os.Stderr, "killed before:", name)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		count++
	}}
	return p.main(ctx, append([]string{"image-cri-shim-agent"}, arguments...), os.Stdout, os.Stderr)
}
