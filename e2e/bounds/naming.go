package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"image-cri-shim/e2e/testbed"
)

// namedPulls is the number of images that are pulled in each of the two ways.
const namedPulls = 40

const namingBound = "20 ms"

// measureNaming compares pulls through the shim, which has containerd keep the asked
// names, with direct pulls of other images of the same size from the same registry. The
// two alternate. Each pull is repeated when the image is present.
func measureNaming(ctx context.Context, n *node, row report) error {
	if missing := testbed.ContainerdMissing(); missing != nil {
		row("pull through the shim on containerd, added time", "not measured: "+missing.Error(), namingBound)
		return nil
	}
	registry, err := testbed.StartRegistry(ctx, testbed.RegistryOptions{Folder: filepath.Join(n.folder, "registry"), Username: "node", Password: "secret"})
	if err != nil {
		return err
	}
	n.stops = append(n.stops, registry.Stop)
	for i := range 2 * (namedPulls + 1) {
		image, err := testbed.SmallImage(fmt.Sprintf("number %d of the bounds", i))
		if err != nil {
			return err
		}
		if err := registry.Push(ctx, fmt.Sprintf("team/app-%d:1", i), image); err != nil {
			return err
		}
	}
	for _, names := range []string{"auto", "ledger"} {
		runtime, err := testbed.StartContainerd(ctx, testbed.RuntimeOptions{
			Folder: filepath.Join(n.folder, "containerd-"+names),
			Hosts:  map[string]testbed.Host{registry.Host(): {Address: registry.Address(), Username: "node", Password: "secret"}},
		})
		if err != nil {
			return err
		}
		err = n.comparePulls(ctx, names, registry, runtime, row)
		runtime.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// comparePulls pulls the images with odd numbers through a shim and the others directly.
func (n *node) comparePulls(ctx context.Context, names string, registry *testbed.Registry, runtime *testbed.Containerd, row report) error {
	shim, err := testbed.StartShim(ctx, testbed.ShimOptions{
		Binary: n.binary, Folder: filepath.Join(n.folder, "shim-"+names), Runtime: runtime.Socket(),
		Configuration: fmt.Sprintf("names: %s\naddress: %s\nauth: node:secret\n", names, registry.Address()),
	})
	if err != nil {
		return err
	}
	defer func() { _ = shim.Stop() }()
	var clients [2]*testbed.Client
	for i, socket := range []string{runtime.Socket(), shim.Socket()} {
		if clients[i], err = testbed.Dial(ctx, socket); err != nil {
			return err
		}
		defer func() { _ = clients[i].Close() }()
	}
	for _, again := range []string{"", " of an image that is present"} {
		var took [2][]time.Duration
		for i := range namedPulls + 1 {
			for turn := range clients {
				way := (turn + i) % len(clients) // the first of the two alternates
				image := fmt.Sprintf("docker.io/team/app-%d:1", 2*i+way)
				if way == 0 {
					image = fmt.Sprintf("%s/team/app-%d:1", registry.Host(), 2*i)
				}
				one, err := timed(func() error { return pull(ctx, clients[way], image) })
				if err != nil {
					return err
				}
				if i > 0 { // leave out the first pull, which opens connections
					took[way] = append(took[way], one)
				}
			}
		}
		direct, through := median(took[0]), median(took[1])
		row(fmt.Sprintf("pull%s through the shim on containerd, names: %s, added to %.1f ms", again, names, milliseconds(direct)),
			fmt.Sprintf("%.1f ms, medians of %d", milliseconds(through-direct), namedPulls), namingBound)
	}
	return nil
}

func median(durations []time.Duration) time.Duration {
	slices.Sort(durations)
	return durations[len(durations)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
