package pointing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "pointer" {
		if err := runPointer(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// runPointer implements `pointer BINARY point|unpoint|resume [STEP SIGNAL]` for the end-to-end
// tests: it works on this node, and sends itself a signal before a step. It waits for kubelet
// for a shorter time than the agent does.
func runPointer(arguments []string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	manager, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer manager.Close()
	p := New(manager, arguments[0], logrus.New())
	p.times.kubelet, p.times.settle, p.times.connect = 15*time.Second, time.Second, 3*time.Second
	p.times.distribution = p.times.kubelet
	step := func(name string) {
		fmt.Println(name)
		if len(arguments) > 2 && name == arguments[2] {
			signal := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP}[arguments[3]]
			_ = syscall.Kill(os.Getpid(), signal)
			time.Sleep(time.Second) // until the signal has arrived
		}
	}
	settings, err := config.Load(config.DefaultFile)
	if err != nil {
		settings = nil
	}
	switch arguments[1] {
	case "point":
		return p.Point(ctx, settings, step)
	case "unpoint":
		return p.Unpoint(ctx, settings, step)
	case "resume":
		return p.Resume(ctx, settings)
	}
	return errors.New("unknown command " + arguments[1])
}
