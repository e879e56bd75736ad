package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// The functions below make changes without the test's client: in the registries, on the
// runtimes' own sockets, and to the processes of the shim and the runtimes.

// publish moves the tag of a name, sometimes to an image that another name has too.
func (m *imageModel) publish(name *modelName) {
	image := m.images.new(m.t)
	digest, err := image.Digest()
	m.must(err)
	m.logStep("publish %s as %s", digest, name.canonical())
	m.registries.push(m.t, name.repository()+":"+name.tag(), image)
	for _, other := range m.images.names {
		if other.repository() == name.repository() {
			other.digests = append(other.digests, digest.String())
		}
	}
}

// bySecondClient makes the same change in both runtimes, without the shim.
func (m *imageModel) bySecondClient(what string, do func(ctx context.Context, r *modelRuntime) error) {
	m.ask(what, func(ctx context.Context, r *modelRuntime) (string, error) { return "", do(ctx, r) })
}

func (m *imageModel) load(name *modelName) {
	image, as := m.images.new(m.t), name.canonical()
	if m.random.IntN(3) == 0 {
		as = m.images.foreign()
	}
	digest, err := image.Digest()
	m.must(err)
	m.awaitRepair(as)
	m.logStep("load %s as %s", digest, as)
	m.bySecondClient("load", func(ctx context.Context, r *modelRuntime) error { return r.store.Load(ctx, as, image) })
}

// awaitRepair waits until the shim has repaired the names that a killed pull has left. This
// is needed before a second client changes one of the private registry's names, because the
// repair may attribute that change to the pull.
func (m *imageModel) awaitRepair(name string) {
	if !strings.HasPrefix(name, m.images.private+"/") {
		return
	}
	eventually(m.t, func() string {
		journal, err := m.shim.StateFile("pulls.json")
		m.must(err)
		if strings.Contains(string(journal), m.images.private) {
			return "the shim has not repaired the pulls in its journal: " + string(journal)
		}
		return ""
	})
}

func (m *imageModel) tag() {
	from, to := m.record(), m.images.name().canonical()
	if from == "" {
		return
	}
	if m.random.IntN(2) == 0 {
		to = m.images.foreign()
	}
	m.awaitRepair(to)
	m.logStep("tag %s as %s", from, to)
	m.bySecondClient("tag", func(ctx context.Context, r *modelRuntime) error { return r.store.Tag(ctx, from, to) })
}

func (m *imageModel) untag() {
	if name := m.record(); name != "" {
		m.awaitRepair(name)
		m.logStep("untag %s", name)
		m.bySecondClient("untag", func(ctx context.Context, r *modelRuntime) error { return r.store.Untag(ctx, name) })
	}
}

// record returns one of the names in containerd's own API, or "" if there are none.
func (m *imageModel) record() string {
	all, err := m.withoutShim.store.Names(testContext(m.t))
	m.must(err)
	var names []string
	for _, name := range all {
		if !strings.HasPrefix(name, "sha256:") && !strings.HasPrefix(name, "sandbox.invalid/") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[m.random.IntN(len(names))]
}

// pullDirectly pulls from the original registry in both runtimes, without the shim.
func (m *imageModel) pullDirectly(image string) {
	m.awaitRepair(image)
	m.logStep("directly pull %s", image)
	m.registries.open.Store(true)
	defer m.registries.open.Store(false)
	m.ask("PullImage without the shim", func(ctx context.Context, r *modelRuntime) (string, error) { return "", r.pull(ctx, image) })
}

// setOutage changes which registries are down. A private registry that returns is probed only
// after a backoff, so setOutage reloads the shim's configuration.
func (m *imageModel) setOutage(next outage) {
	before := m.registries.state()
	if next == before {
		return
	}
	m.logStep("outage %d", next)
	m.registries.outage.Store(int32(next))
	if next != allUp {
		return
	}
	m.reloads++
	seen := m.logged("reloaded the configuration")
	m.must(m.shim.Configure(m.configuration() + engine()))
	m.shim.Reload()
	eventually(m.t, func() string {
		if m.logged("reloaded the configuration") == seen {
			return "the configuration has not been reloaded"
		}
		return ""
	})
}

// logged returns how often the shim has logged a text.
func (m *imageModel) logged(text string) int {
	log, err := os.ReadFile(m.shim.Log())
	m.must(err)
	return strings.Count(string(log), text)
}

// pullKilled kills the shim during a pull. The client then repeats the pull.
func (m *imageModel) pullKilled(name *modelName) {
	delay := time.Duration(m.random.IntN(40)) * time.Millisecond
	m.logStep("kill of the shim %v after the beginning of the next pull", delay)
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	var pull sync.WaitGroup
	pull.Go(func() { // it may fail or succeed
		_, _ = m.through.images().PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name.canonical()}})
	})
	time.Sleep(delay) // so that each stage of a pull is hit in some run
	m.shim.Kill()
	pull.Wait()
	m.must(m.shim.Start(ctx))
	m.awaitShim(ctx)
	m.pull(name.canonical())
}

func (m *imageModel) restartShim(end func(*testbed.Shim) error) {
	m.logStep("restart the shim")
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	m.must(end(m.shim))
	m.must(m.shim.Start(ctx))
	m.awaitShim(ctx)
}

func (m *imageModel) restartRuntimes() {
	m.logStep("restart the runtimes")
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	m.must(m.inBoth(func(r *modelRuntime, _ bool) error { return r.restart(ctx) }))
	m.awaitShim(ctx)
}

// awaitShim waits until the runtime answers through the shim.
func (m *imageModel) awaitShim(ctx context.Context) {
	m.through.client.ResetConnectBackoff()
	for {
		_, err := m.through.containers().Version(ctx, &runtimeapi.VersionRequest{}, grpc.WaitForReady(true))
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			m.must(fmt.Errorf("the shim doesn't answer: %w", err))
		}
		time.Sleep(time.Millisecond) // between two attempts
	}
}
