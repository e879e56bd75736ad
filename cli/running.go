package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/unixsocket"
)

// adminSocket returns the configuration and the admin socket of the shim that runs with it. A
// running shim keeps its last good configuration if the file becomes invalid. adminSocket then
// prints a warning, and returns the socket with nil settings. Without such a shim, it returns
// the error of the file.
func adminSocket(c *cli.Context) (socket string, settings *config.Config, err error) {
	name := file(c)
	if settings, err = config.Load(name); err == nil {
		return admin.Socket(settings.StateDirectory), settings, nil
	}
	socket = admin.Socket(config.StateDirectory(name))
	status := explain.ShimStatus{}
	if admin.Get(c.Context, socket, admin.AboutPath, nil, &status) != nil || !sameFile(status.File, name) {
		return "", nil, err
	}
	problem := config.ProblemsOf(name, err)[0]
	fmt.Fprintf(c.App.ErrWriter, "image-cri-shim: warning: %s\nimage-cri-shim: warning: the running shim uses its last good configuration\n", problem)
	return socket, nil, nil
}

// sameFile reports whether two paths name the same file. Missing files are compared by path.
func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	second, other := os.Stat(b)
	if err == nil && other == nil {
		return os.SameFile(first, second)
	}
	b, absolute := filepath.Abs(b)
	return err != nil && other != nil && absolute == nil && a == b
}

// alreadyRunning replaces the error of a start whose socket is in use, if a shim with the same
// state directory answers.
func alreadyRunning(c *cli.Context, err error) error {
	if !errors.Is(err, unixsocket.ErrInUse) {
		return err
	}
	status := explain.ShimStatus{}
	if admin.Get(c.Context, admin.Socket(config.StateDirectory(file(c))), admin.AboutPath, nil, &status) != nil {
		return err
	}
	return fmt.Errorf("the shim is already running with %s; see %s --help for commands", status.File, c.App.Name)
}
