package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/admin"
	"image-cri-shim/agent/host"
	"image-cri-shim/agent/pointing"
	"image-cri-shim/agent/rollout"
	"image-cri-shim/agent/service"
	"image-cri-shim/agent/status"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
	"image-cri-shim/explain"
)

const (
	lockFile   = "/run/image-cri-shim-agent.lock"
	lockReport = 15 * time.Second // between two messages about the process that holds the lock
)

// onNode enters the node, waits until no other agent works on it, and calls work with a
// Rollout. options has the values that differ between the commands.
func onNode(ctx context.Context, root string, binary *os.File, options rollout.Options, work func(*rollout.Rollout) error) error {
	if err := host.Enter(root); err != nil {
		return err
	}
	options.Unsupported = host.CheckSystem()
	if options.Unsupported != nil && options.Command == agentName {
		return options.Unsupported
	}
	machine, err := host.MachineID()
	if err != nil {
		return err
	}
	release, err := lock(ctx, lockFile, options.Log)
	if err != nil {
		return err
	}
	defer release()
	options.Settings, options.About = nodeSettings, about
	options.Status = status.File
	if options.Record, err = rollout.OpenRecord(host.StateFolder, machine, options.Log); err != nil {
		return err
	}
	if options.Unsupported != nil && !options.Record.Exists() { // such a system may have no systemd
		return work(rollout.New(options))
	}
	units, err := systemd.Connect(ctx)
	if err != nil {
		return err
	}
	defer units.Close()
	shim := service.New(units, service.Release{Version: options.Version, Binary: descriptorPath(binary)}, options.Log)
	options.Service = shim
	options.Former = func(version string) rollout.Service {
		return service.New(units, service.Release{Version: version, Binary: service.VersionsFolder + "/" + version + "/image-cri-shim"}, options.Log)
	}
	options.Clients = pointing.New(options.Record.CountRestarts(units), shim.Binary(), options.Log)
	if options.Command == agentName {
		if err := shim.CheckNode(); err != nil {
			return err
		}
	}
	return work(rollout.New(options))
}

// lock locks the node for this agent. While another one holds the lock, it logs its process.
func lock(ctx context.Context, path string, log logrus.FieldLogger) (release func(), err error) {
	for wait := time.Second; ; wait = lockReport {
		limited, cancel := context.WithTimeout(ctx, wait)
		release, err = host.Lock(limited, path)
		expired := limited.Err() != nil
		cancel()
		switch {
		case err == nil:
			return release, nil
		case ctx.Err() != nil || !expired:
			return nil, err
		}
		log.WithError(err).Info("another agent works on this node, waiting until it ends")
	}
}

// nodeSettings returns the configuration on the node, or nil if it is missing or invalid.
func nodeSettings() *config.Config {
	settings, err := config.Load(config.DefaultFile)
	if err != nil {
		return nil
	}
	return settings
}

// aboutTimeout limits a question to the running shim.
const aboutTimeout = 10 * time.Second

// about asks the running shim. Without settings, it asks at the place that the file names.
func about(ctx context.Context, settings *config.Config) (answer explain.ShimStatus, err error) {
	folder := config.StateDirectory(config.DefaultFile)
	if settings != nil {
		folder = settings.StateDirectory
	}
	ctx, cancel := context.WithTimeout(ctx, aboutTimeout)
	defer cancel()
	if err := admin.Get(ctx, admin.Socket(folder), admin.AboutPath, nil, &answer); err != nil {
		return answer, fmt.Errorf("ask the running shim: %w", err)
	}
	return answer, nil
}

// openBinary opens the shim's program in the image.
func openBinary(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the shim's program: %w; name it with --binary", err)
	}
	return file, nil
}
