package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// TestNamingScenarios runs pulls in situations that need special rules.
func TestNamingScenarios(t *testing.T) {
	first, second := newContent("first"), newContent("second")
	digestOf := func(repository string, image content) string { return repository + "@" + image.digest }
	for name, scenario := range map[string]struct {
		run  func(n *namingNode)
		want []recorded
	}{
		"two originals of one target": {
			run: func(n *namingNode) {
				n.pushAs(first, stored, hub+"/library/web:1")
				n.mustPull(asked)
				n.mustPull("docker.io/library/web:1")
			},
			want: []recorded{{first, []string{asked, "docker.io/library/web:1"}}},
		},
		"two originals of one reference, at once": {
			run: func(n *namingNode) {
				n.pushAs(first, hub+"/team/app:1")
				n.together(func() { n.mustPull("docker.io/team/app:1") }, func() { n.mustPull("quay.io/team/app:1") })
			},
			want: []recorded{{first, []string{"docker.io/team/app:1", "quay.io/team/app:1"}}},
		},
		"a tag that moves between two pulls at once": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.together(func() { n.mustPull(asked) }, func() {
					time.Sleep(10 * time.Millisecond)
					n.pushAs(second, stored)
					n.mustPull(asked)
				})
			},
			want: []recorded{{first, []string{digestOf("docker.io/library/nginx", first)}}, {second, []string{asked}}},
		},
		"a pull by the own name before": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.mustPull(stored)
				n.mustPull(asked)
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a pull by the own name afterwards": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.mustPull(asked)
				n.mustPull(stored)
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a pull by the own name meanwhile, which ends first": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.together(func() { n.mustPull(stored) }, func() { time.Sleep(10 * time.Millisecond); n.mustPull(asked) })
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a pull by the own name meanwhile, which ends last": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.together(func() { time.Sleep(10 * time.Millisecond); n.mustPull(stored) }, func() { n.mustPull(asked) })
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a pull by the own name that ends while the names are listed": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.set(func(_ context.Context, number int, _ string, invoke func() ([]byte, error)) ([]byte, error) {
					answer, err := invoke()
					if number == 1 {
						time.Sleep(time.Second)
					}
					return answer, err
				})
				n.together(func() { n.mustPull(stored) }, func() { n.mustPull(asked) })
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a pull by the own name whose record can't be looked at": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.together(func() {
					time.Sleep(10 * time.Millisecond)
					n.set(failing("Images.Get", 1))
					n.mustPull(stored)
				}, func() { n.mustPull(asked); n.set(nil) })
				n.warned()
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a digest of a tag that stays": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.mustPull(stored)
				n.mustPull("nginx@" + first.digest)
			},
			want: []recorded{{first, []string{stored, digestOf("docker.io/library/nginx", first)}}},
		},
		"another digest for the same ID": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.mustPull(stored)
				n.pushAs(content{first.id, second.digest}, stored)
				n.mustPull(asked)
			},
			want: []recorded{{first, []string{stored}}, {content{first.id, second.digest}, []string{asked}}},
		},
		"a second registry while the first is busy": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.pushAs(first, "mirror.test/team/app:1")
				n.together(func() { n.mustPull(asked) }, func() { n.mustPull("quay.io/team/app:1") })
			},
			want: []recorded{{first, []string{asked, "quay.io/team/app:1"}}},
		},
		"an image that is removed and pulled again": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.remove(n.mustPull(asked))
				n.mustPull(asked)
			},
			want: []recorded{{first, []string{asked}}},
		},
		"an image that is removed while it is named": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.together(func() { n.mustPull(asked) }, func() {
					time.Sleep(34 * time.Millisecond)
					n.remove(first.id)
				})
			},
		},
		"an image that another client removes while it is named": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.set(func(ctx context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
					if strings.HasPrefix(call, "Images.Create docker.io/library/nginx:1.25") {
						n.removeDirectly(first.id)
					}
					return invoke()
				})
				n.mustPull(asked)
			},
		},
		"content that goes while the image is named": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.set(func(ctx context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
					if strings.HasPrefix(call, "Content.Info") {
						n.removeDirectly(first.id)
					}
					return invoke()
				})
				n.mustPull(asked)
			},
		},
		"a pull that is cancelled at its end": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.runtime.pullsOn = true
				ctx, cancel := context.WithCancel(n.t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				if _, err := n.pullWith(ctx, asked); status.Code(err) != codes.Canceled {
					n.t.Errorf("pull: %v", err)
				}
				n.runtime.pulls.Wait()
				time.Sleep(cancelGrace)
			},
			want: []recorded{{first, []string{asked}}},
		},
		"a pull that is cancelled, and its repository's others": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.pushAs(second, hub+"/library/nginx:2")
				ctx, cancel := context.WithCancel(n.t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				if _, err := n.pullWith(ctx, asked); status.Code(err) != codes.Canceled {
					n.t.Errorf("pull: %v", err)
				}
				n.mustPull("nginx:2")
				time.Sleep(cancelGrace)
			},
			want: []recorded{{second, []string{"docker.io/library/nginx:2"}}},
		},
		"many pulls that overlap": {
			run: func(n *namingNode) {
				n.pushAs(first, stored)
				n.pushAs(second, hub+"/library/nginx:2")
				var pulls []func()
				for i := range 40 {
					pulls = append(pulls, func() {
						time.Sleep(time.Duration(i) * 7 * time.Millisecond)
						n.mustPull([]string{asked, "nginx:2", "nginx@" + first.digest}[i%3])
					})
				}
				n.together(pulls...)
			},
			want: []recorded{{first, []string{asked}}, {second, []string{"docker.io/library/nginx:2"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				scenario.run(n)
				n.settled()
				n.wantStored(scenario.want...)
				if warnings := n.warned(); len(warnings) > 0 {
					t.Errorf("warnings %q", warnings)
				}
			})
		})
	}
}

// together runs clients concurrently.
func (n *namingNode) together(clients ...func()) {
	var running sync.WaitGroup
	for _, client := range clients {
		running.Go(client)
	}
	running.Wait()
}

// removeDirectly removes an image as a client that does not use the shim.
func (n *namingNode) removeDirectly(id string) {
	n.runtime.mutex.Lock()
	defer n.runtime.mutex.Unlock()
	for name, on := range n.runtime.view {
		if on == id {
			n.runtime.unstore(name)
		}
	}
	n.runtime.collect()
	n.runtime.follow()
}

// failing returns a hook that makes the first calls of a kind fail.
func failing(kind string, times int) func(context.Context, int, string, func() ([]byte, error)) ([]byte, error) {
	var mutex sync.Mutex
	return func(_ context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
		mutex.Lock()
		fails := strings.HasPrefix(call, kind) && times > 0
		if fails {
			times--
		}
		mutex.Unlock()
		if fails {
			return nil, status.Error(codes.Internal, "out of order")
		}
		return invoke()
	}
}

// TestNamingKeepsWhatTheRuntimeNeeds checks that pinned names and the name of the sandbox image
// stay.
func TestNamingKeepsWhatTheRuntimeNeeds(t *testing.T) {
	for _, older := range []bool{true, false} {
		t.Run(fmt.Sprintf("older=%v", older), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				const sandbox = hub + "/pause:3.9"
				n.runtime.older, n.runtime.sandbox = older, sandbox
				image := n.push(sandbox)
				n.mustPull("registry.k8s.io/pause:3.9")
				n.settled()
				got := strings.Join(n.runtime.stored(), "\n")
				if !strings.Contains(got, sandbox) || !strings.Contains(got, "registry.k8s.io/pause:3.9 "+image.digest[7:13]) {
					t.Errorf("containerd has\n%s", got)
				}
				if strings.Contains(got, "registry.k8s.io/pause:3.9 "+image.digest[7:13]+" pinned") {
					t.Errorf("the other name is pinned:\n%s", got)
				}
			})
			bubble(t, func(t *testing.T, n *namingNode) {
				n.runtime.older, n.runtime.sandbox = older, "registry.k8s.io/pause:3.9"
				n.push(hub + "/pause:3.9")
				n.mustPull("registry.k8s.io/pause:3.9")
				if got := strings.Join(n.runtime.stored(), "\n"); strings.Contains(got, hub) || strings.Count(got, "pinned") != 1 {
					t.Errorf("containerd has\n%s", got)
				}
			})
		})
	}
}

// TestNamingWithAViewThatHangs: the names exist, but the CRI shows them only minutes later.
func TestNamingWithAViewThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		n.runtime.stuck = true
		begun := time.Now()
		n.checkedPull(asked)
		if took := time.Since(begun); took > 2*viewTimeout+time.Second {
			t.Errorf("the pull took %v", took)
		}
		time.Sleep(3 * time.Minute)
		if n.status(asked).GetId() != image.id {
			t.Error("the image does not exist")
		}
		n.runtime.mutex.Lock()
		n.runtime.stuck = false
		n.runtime.mutex.Unlock()
		n.settled()
		n.wantStored(recorded{image, []string{asked}})
	})
}

// TestNamingWaitsForEventsOfOthers: the CRI handles events of other clients first.
func TestNamingWaitsForEventsOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		n.runtime.delay = time.Second
		n.checkedPull(asked)
		n.settled()
		n.wantStored(recorded{image, []string{asked}})
		if warnings := n.warned(); len(warnings) > 0 {
			t.Errorf("warnings %q", warnings)
		}
	})
}

// TestNamingBesideContainers creates containers of an image that is pulled repeatedly.
func TestNamingBesideContainers(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		n.push(stored)
		n.runtime.createFor = 20 * time.Millisecond
		id := n.mustPull(asked)
		var failed []error
		n.together(func() {
			for range 30 {
				n.mustPull(asked)
			}
		}, func() {
			for range 60 {
				if _, err := n.create(id, asked); err != nil {
					failed = append(failed, err)
				}
			}
		})
		if len(failed) > 0 {
			t.Errorf("%d containers were not created: %v", len(failed), failed[0])
		}
	})
}

// TestNamingIsNotHeldUpByAContainer: the creation of a container takes long, but pulls of its
// image end in time.
func TestNamingIsNotHeldUpByAContainer(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		id := n.mustPull(asked)
		n.runtime.createFor = 3 * time.Minute
		var slow sync.WaitGroup
		begun := time.Now()
		pulls := 0
		slow.Go(func() { n.mustPull(asked) })
		time.Sleep(time.Millisecond) // the call is not forwarded as bytes during a pull
		slow.Go(func() {
			if _, err := n.create(id, asked); err != nil {
				t.Errorf("create: %v", err)
			}
		})
		time.Sleep(time.Second)
		for time.Since(begun) < 2*time.Minute {
			before := time.Now()
			n.checkedPull(asked)
			if took := time.Since(before); took > 15*time.Second {
				t.Errorf("a pull took %v", took)
			}
			pulls++
			time.Sleep(time.Second)
		}
		slow.Wait()
		n.settled()
		n.wantStored(recorded{image, []string{asked}})
		t.Logf("%d pulls meanwhile", pulls)
	})
}

// TestNamingShowsNoRegistryMeanwhile checks that clients which list images during a pull and the
// naming of its image never see the registry's names.
func TestNamingShowsNoRegistryMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		n.push(stored)
		n.pushAs(newContent("other"), hub+"/library/nginx:2")
		id := n.mustPull(asked)
		container, err := n.create(id, asked)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		n.together(func() {
			defer close(ended)
			n.together(func() { n.mustPull("nginx:2") }, func() { time.Sleep(20 * time.Millisecond); n.mustPull(asked) })
		}, func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond / 2):
				}
				status := n.containerStatus(container)
				text := strings.Join(n.list(), " ") + names(n.status(id)) + status.Image.Image + status.ImageRef
				if strings.Contains(text, hub) || status.Image.Image != asked {
					t.Errorf("%s", text)
					<-ended
					return
				}
			}
		})
		n.settled()
	})
}

// TestNamingOfTheLedger moves the ledger of an earlier shim without a namer into containerd.
func TestNamingOfTheLedger(t *testing.T) {
	first, second := newContent("first"), newContent("second")
	name := func(original, reference string, image content) ledger.Entry {
		return ledger.Entry{Original: original, Image: image.id, Stored: reference, Registry: hub}
	}
	hide := func(reference string, image content) ledger.ImageRef {
		return ledger.ImageRef{Reference: reference, Image: image.id}
	}
	const originals, hubs = "docker.io/library/nginx", hub + "/library/nginx"
	for what, ledgered := range map[string]struct {
		prepare func(n *namingNode)
		change  ledger.Change
		want    []recorded
	}{
		"an image": {
			prepare: func(n *namingNode) { n.direct(stored) },
			change: ledger.Change{
				SetNames: []ledger.Entry{name(asked, stored, first), name(originals+"@"+first.digest, hubs+"@"+first.digest, first)},
				Hide:     []ledger.ImageRef{hide(stored, first), hide(hubs+"@"+first.digest, first)},
			},
			want: []recorded{{first, []string{asked}}},
		},
		"an image that was asked for by its stored reference too": {
			prepare: func(n *namingNode) { n.direct(stored) },
			change: ledger.Change{
				SetNames: []ledger.Entry{name(stored, stored, first), name(hubs+"@"+first.digest, hubs+"@"+first.digest, first), name(asked, stored, first), name(originals+"@"+first.digest, hubs+"@"+first.digest, first)},
				Hide:     []ledger.ImageRef{hide(stored, first), hide(hubs+"@"+first.digest, first)},
			},
			want: []recorded{{first, []string{asked, stored}}},
		},
		"a reference that has moved, and was asked for on the older image": {
			prepare: func(n *namingNode) {
				n.direct(stored)
				n.pushAs(second, stored)
				n.direct(stored)
			},
			change: ledger.Change{
				SetNames: []ledger.Entry{name(stored, stored, first), name(asked, stored, second), name(originals+"@"+second.digest, hubs+"@"+second.digest, second)},
				Hide:     []ledger.ImageRef{hide(stored, second), hide(hubs+"@"+second.digest, second)},
			},
			want: []recorded{{first, []string{stored}}, {second, []string{asked}}},
		},
		"a name that an older image has in the runtime": {
			prepare: func(n *namingNode) {
				n.pushAs(second, asked)
				n.direct(asked)
				n.direct(stored)
			},
			change: ledger.Change{
				SetNames: []ledger.Entry{name(asked, stored, first), name(originals+"@"+first.digest, hubs+"@"+first.digest, first)},
				Hide:     []ledger.ImageRef{hide(stored, first), hide(hubs+"@"+first.digest, first), hide(asked, second)},
			},
			want: []recorded{{second, []string{originals + "@" + second.digest}}, {first, []string{asked}}},
		},
		"a name that was loaded for another image since": {
			prepare: func(n *namingNode) {
				n.direct(stored)
				n.pushAs(second, asked)
				n.direct(asked)
			},
			change: ledger.Change{
				SetNames: []ledger.Entry{name(asked, stored, first), name(originals+"@"+first.digest, hubs+"@"+first.digest, first)},
				Hide:     []ledger.ImageRef{hide(stored, first), hide(hubs+"@"+first.digest, first)},
			},
			want: []recorded{{first, []string{originals + "@" + first.digest}}, {second, []string{asked}}},
		},
		"an image that is gone": {
			prepare: func(n *namingNode) {},
			change:  ledger.Change{SetNames: []ledger.Entry{name(asked, stored, first)}, Hide: []ledger.ImageRef{hide(stored, first)}},
		},
		"an image that has come back by another way": {
			prepare: func(n *namingNode) {
				n.pushAs(first, "quay.io/copy:1")
				n.direct("quay.io/copy:1")
			},
			change: ledger.Change{SetNames: []ledger.Entry{name(asked, stored, first)}},
			want:   []recorded{{first, []string{"quay.io/copy:1"}}},
		},
		"what a failed pull has left": {
			prepare: func(n *namingNode) { n.direct(stored) },
			change:  ledger.Change{Hide: []ledger.ImageRef{hide(stored, first), hide(hubs+"@"+first.digest, first)}},
			want:    []recorded{{first, []string{stored}}},
		},
		"two images from one repository": {
			prepare: func(n *namingNode) {
				n.direct(stored)
				n.pushAs(second, hubs+":2")
				n.direct(hubs + ":2")
			},
			change: ledger.Change{
				SetNames: []ledger.Entry{name(asked, stored, first), name(originals+":2", hubs+":2", second)},
				Hide:     []ledger.ImageRef{hide(stored, first), hide(hubs+":2", second), hide(hubs+"@"+first.digest, first), hide(hubs+"@"+second.digest, second)},
			},
			want: []recorded{{first, []string{asked}}, {second, []string{originals + ":2"}}},
		},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				n.end()
				n.pushAs(first, stored)
				ledgered.prepare(n)
				n.prepare()
				if err := n.ledger.Apply(ledgered.change); err != nil {
					t.Fatal(err)
				}
				n.run()
				n.settled()
				want := records(ledgered.want...)
				if what == "an image that is gone" {
					want = nil
				}
				got := slices.DeleteFunc(n.runtime.stored(), func(line string) bool {
					return strings.HasPrefix(line, originals+"@") && !slices.Contains(want, line) // the digest is optional
				})
				want = slices.DeleteFunc(want, func(line string) bool { return strings.HasPrefix(line, originals+"@") && !slices.Contains(got, line) })
				if !slices.Equal(got, want) {
					t.Errorf("containerd has\n\t%s\nwant\n\t%s; warnings %q", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), n.warned())
				}
			})
		})
	}
}

// TestNamingOfTheLedgerWaitsForPulls checks that the ledger's names are moved into containerd
// after pulls from the repository have ended.
func TestNamingOfTheLedgerWaitsForPulls(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		n.end()
		n.direct(stored)
		n.prepare()
		digest := hub + "/library/nginx@" + image.digest
		if err := n.ledger.Apply(ledger.Change{
			SetNames: []ledger.Entry{{Original: asked, Image: image.id, Stored: stored}, {Original: "docker.io/library/nginx@" + image.digest, Image: image.id, Stored: digest}},
			Hide:     []ledger.ImageRef{{Reference: stored, Image: image.id}, {Reference: digest, Image: image.id}},
		}); err != nil {
			t.Fatal(err)
		}
		n.runtime.pullTime = 2 * time.Minute
		n.pushAs(newContent("other"), hub+"/library/nginx:2")
		n.together(func() { n.mustPull("nginx:2") }, func() {
			time.Sleep(time.Second)
			n.run()
			n.set(nil)
			time.Sleep(time.Minute)
			if calls := n.seen(); len(calls) > 40 {
				t.Errorf("%d calls in a minute in which nothing could be done", len(calls))
			}
			if got := n.status(asked).GetId(); got != image.id {
				t.Errorf("status has the ID %q meanwhile", got)
			}
		})
		n.settled()
		n.wantStored(recorded{image, []string{asked}}, recorded{newContent("other"), []string{"docker.io/library/nginx:2"}})
	})
}

// TestNamingOpaque checks which calls are forwarded without decoding.
func TestNamingOpaque(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		n.push(stored)
		id := n.mustPull(asked)
		passes := func() string {
			var lines []string
			for _, method := range []string{"RuntimeService/ContainerStatus", "RuntimeService/PodSandboxStatus", "RuntimeService/GetContainerEvents", "ImageService/ListImages", "ImageService/StreamImages"} {
				if opaque := n.rewriter.Opaque()["/runtime.v1."+method]; opaque != nil && opaque() {
					lines = append(lines, method)
				}
				if forward := n.rewriter.Forward()["/runtime.v1."+method]; forward != nil {
					if _, ok := forward(); ok {
						lines = append(lines, method)
					}
				}
			}
			return strings.Join(lines, " ")
		}
		all := "RuntimeService/ContainerStatus RuntimeService/PodSandboxStatus RuntimeService/GetContainerEvents ImageService/ListImages ImageService/StreamImages"
		if got := passes(); got != "" {
			t.Errorf("opaque while earlier answers may arrive: %s", got)
		}
		time.Sleep(deletedTTL + time.Second)
		if got := passes(); got != all {
			t.Errorf("opaque: %s", got)
		}
		n.together(func() { n.mustPull(asked) }, func() {
			time.Sleep(time.Millisecond)
			if got := passes(); got != "" {
				t.Errorf("opaque during a pull: %s", got)
			}
		})
		time.Sleep(deletedTTL + time.Second)
		if got := passes(); got != all {
			t.Errorf("opaque after the pull: %s", got)
		}
		if err := n.ledger.Apply(ledger.Change{SetNames: []ledger.Entry{{Original: "docker.io/library/old:1", Image: id, Stored: hub + "/library/old:1"}}}); err != nil {
			t.Fatal(err)
		}
		if got := passes(); got != "" {
			t.Errorf("opaque with a name in the ledger: %s", got)
		}
	})
}

// TestNamingMode checks the mode for the answers of the images service.
func TestNamingMode(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		for _, step := range []struct {
			code codes.Code
			want naming.Mode
		}{
			{codes.Unimplemented, naming.InLedger},
			{codes.Unavailable, naming.InLedger},
			{codes.OK, naming.InRuntime},
			{codes.Unavailable, naming.InRuntime},
			{codes.DeadlineExceeded, naming.InRuntime},
			{codes.PermissionDenied, naming.InLedger},
			{codes.OK, naming.InRuntime},
		} {
			n.set(func(_ context.Context, _ int, _ string, invoke func() ([]byte, error)) ([]byte, error) {
				if step.code != codes.OK {
					return nil, status.Error(step.code, "no")
				}
				return invoke()
			})
			isStale := step.code == codes.Unavailable || step.code == codes.DeadlineExceeded
			if got := n.namer.Probe(t.Context()); got.Mode != step.want || got.Reason == "" || got.Stale != isStale {
				t.Errorf("after %v: %+v, want %s", step.code, got, step.want)
			}
		}
	})
	if got := (*naming.Namer)(nil).Status(); got.Mode != naming.InLedger {
		t.Errorf("without a namer: %+v", got)
	}
}

// TestNamingIsQuiet checks that the namer makes few calls while it has nothing to do.
func TestNamingIsQuiet(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		n.push(stored)
		n.mustPull(asked)
		n.set(nil)
		time.Sleep(5*time.Minute + time.Second)
		if calls := n.seen(); len(calls) > 11 {
			t.Errorf("%d calls in five minutes without work: %q", len(calls), calls)
		}
	})
}

// TestNamingAfterTheEnd: calls end after the background work has stopped.
func TestNamingAfterTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		n.restartIn(t.TempDir())
		n.end()
		n.checkedPull(asked)
		n.wantStored(recorded{image, []string{asked}})
		n.pushAs(newContent("other"), stored)
		n.set(failing("Images.Delete", 1))
		n.checkedPull(asked)
		synctest.Wait()
		n.restartIn(n.directory)
		n.settled()
		n.wantStored(recorded{image, []string{"docker.io/library/nginx@" + image.digest}}, recorded{newContent("other"), []string{asked}})
	})
}

// TestNamingOfPreloadedImages checks the names that a preloaded image gets.
func TestNamingOfPreloadedImages(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		image := n.push(stored)
		n.direct(stored)
		if got := n.status(asked); got.GetId() != image.id || !imagename.Has(got, asked) {
			t.Errorf("status %s", names(got))
		}
		n.settled()
		n.wantStored(recorded{image, []string{asked, stored}})
	})
}
