package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/imagename"
)

// load gives an image a name as a client that does not use the shim.
func (n *namingNode) load(image content, name string) {
	m := n.runtime
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.blobs[image.digest] = image.id
	target := &containerd.Descriptor{MediaType: "application/vnd.oci.image.index.v1+json", Digest: image.digest, Size: 1000}
	for _, name := range []string{image.id, name} {
		m.store(&containerd.Record{Name: name, Target: target, Labels: map[string]string{"io.cri-containerd.image": "managed"}})
		m.look(name)
	}
}

// unpush removes references from the registries.
func (n *namingNode) unpush(references ...string) {
	n.runtime.remote.mutex.Lock()
	defer n.runtime.remote.mutex.Unlock()
	for _, reference := range references {
		delete(n.runtime.remote.remote, reference)
	}
}

// during runs work during a pull that takes a minute. Other pulls take the usual time meanwhile.
func (n *namingNode) during(image string, work func()) {
	n.t.Helper()
	usual := n.runtime.pullTime
	n.runtime.pullTime = time.Minute
	var slow sync.WaitGroup
	slow.Go(func() { n.mustPull(image) })
	synctest.Wait()
	n.runtime.pullTime = usual
	work()
	slow.Wait()
}

// storedAs returns the digest and the labels of a name in containerd.
func (n *namingNode) storedAs(name string) (digest string, labels map[string]string) {
	n.runtime.mutex.Lock()
	defer n.runtime.mutex.Unlock()
	return n.runtime.records[name].GetTarget().GetDigest(), n.runtime.records[name].GetLabels()
}

// wantName checks the image of a name in containerd and in the view of the CRI.
func (n *namingNode) wantName(name string, want content) {
	n.t.Helper()
	if digest, _ := n.storedAs(name); digest != want.digest {
		n.t.Errorf("%s has the digest %.13s in containerd, want %.13s", name, digest, want.digest)
	}
	if got := n.status(name); got.GetId() != want.id {
		n.t.Errorf("status of %s: %s, want the ID %.13s", name, names(got), want.id)
	}
}

// wantNoRegistry checks that containerd has no name of the registry.
func (n *namingNode) wantNoRegistry() {
	n.t.Helper()
	if got := strings.Join(n.runtime.stored(), "\n\t"); strings.Contains(got, hub) {
		n.t.Errorf("containerd has\n\t%s", got)
	}
}

// TestNamingRepairLeavesMovedNames: a pull succeeds, but its image can be neither named nor
// recorded. Before the repair, the requested name moves to another image.
func TestNamingRepairLeavesMovedNames(t *testing.T) {
	first, second := newContent("first"), newContent("second")
	older := newContent("older")
	for what, move := range map[string]func(n *namingNode){
		"a pull from the original": func(n *namingNode) {
			n.unpush(stored)
			n.pushAs(second, asked)
			n.mustPull(asked)
		},
		"another client's pull": func(n *namingNode) {
			n.pushAs(second, asked)
			n.direct(asked)
		},
		"another client's load": func(n *namingNode) { n.load(second, asked) },
	} {
		for _, before := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(what, func(t *testing.T) {
					bubble(t, func(t *testing.T, n *namingNode) {
						n.restartIn(t.TempDir())
						if before {
							n.load(older, asked)
						}
						n.pushAs(first, stored)
						back := n.fallsSilentAfter(stored)
						n.mustPull(asked)
						if !strings.Contains(n.journaled(), asked) {
							t.Fatalf("the journal lacks the pull: %s", n.journaled())
						}
						move(n)
						if restart {
							n.restartIn(n.copyState())
						}
						back()
						n.settled()
						n.wantName(asked, second)
						n.wantNoRegistry()
					})
				})
			}
		}
	}
}

// TestNamingRepairAfterARemoval: a pull succeeds, but its image can be neither named nor
// recorded. Before the repair, the former image of the requested name is removed.
func TestNamingRepairAfterARemoval(t *testing.T) {
	first, older := newContent("first"), newContent("older")
	bubble(t, func(t *testing.T, n *namingNode) {
		n.load(older, asked)
		n.pushAs(first, stored)
		back := n.fallsSilentAfter(stored)
		n.mustPull(asked)
		n.removeDirectly(older.id)
		back()
		n.settled()
		n.wantStored(recorded{first, []string{asked}})
	})
}

// fallsSilentAfter makes the namer's calls fail from the moment when a pull has stored a name
// until back is called.
func (n *namingNode) fallsSilentAfter(name string) (back func()) {
	var pulled, answers atomic.Bool
	n.set(func(_ context.Context, _ int, _ string, invoke func() ([]byte, error)) ([]byte, error) {
		if digest, _ := n.storedAs(name); digest != "" {
			pulled.Store(true)
		}
		if pulled.Load() && !answers.Load() {
			return nil, status.Error(codes.Unavailable, "the runtime is starting")
		}
		return invoke()
	})
	return func() { answers.Store(true) }
}

// TestNamingRemovalDuringAPull removes and looks up other names that the registry maps to the
// pulled image. No client has pulled these names.
func TestNamingRemovalDuringAPull(t *testing.T) {
	const pulled, reference = "quay.io/team/app:1", hub + "/team/app:1"
	for _, other := range []string{"docker.io/team/app:1", reference} {
		t.Run(other, func(t *testing.T) {
			each(t, func(t *testing.T, n *namingNode, number int) bool {
				image := n.push(reference)
				at := time.Duration(number) * time.Millisecond / 2
				ended := make(chan struct{})
				n.together(func() {
					defer close(ended)
					n.mustPull(pulled)
				}, func() {
					time.Sleep(29*time.Millisecond + at)
					if got := n.status(other); got != nil {
						t.Errorf("status of %s meanwhile: %s", other, names(got))
					}
					n.remove(other)
				})
				if got := n.status(other); got != nil {
					t.Errorf("status of %s afterwards: %s", other, names(got))
				}
				n.settled()
				n.wantStored(recorded{image, []string{pulled}})
				return number < 60
			})
		})
	}
}

// TestNamingInAnotherRegistry pulls a name in one private registry from another one, while the
// first registry serves another name.
func TestNamingInAnotherRegistry(t *testing.T) {
	const own, other = "mirror.test/team/app:1", hub + "/team/app:1"
	first, second := newContent("first"), newContent("second")
	for _, c := range []struct {
		what, slow, reference string
		image                 content
	}{
		{"another tag", "quay.io/team/app:2", "mirror.test/team/app:2", second},
		{"another tag of the same image", "quay.io/team/app:2", "mirror.test/team/app:2", first},
		{"the tag itself", "quay.io/team/app:1", own, second},
		{"the tag itself and its image", "quay.io/team/app:1", own, first},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				n.pushAs(c.image, c.reference)
				n.during(c.slow, func() {
					n.pushAs(first, other)
					n.mustPull(own)
					n.wantName(own, first)
				})
				n.settled()
				n.wantName(own, first)
				n.wantName(c.slow, c.image)
				n.wantName("mirror.test/team/app@"+first.digest, first)
				n.wantNoRegistry()
			})
		})
	}
}

// TestNamingGivesTagsBackAtOnce: a client has pulled a registry's tag by its own name. A pull for
// another name moves the tag while a slow pull from the repository is in progress.
func TestNamingGivesTagsBackAtOnce(t *testing.T) {
	first, second, slow := newContent("first"), newContent("second"), newContent("slow")
	bubble(t, func(t *testing.T, n *namingNode) {
		n.pushAs(first, stored)
		n.mustPull(stored)
		n.pushAs(slow, hub+"/library/nginx:2")
		n.during("nginx:2", func() {
			n.pushAs(second, stored)
			n.mustPull(asked)
			n.wantName(stored, first)
			n.wantName(asked, second)
		})
		n.settled()
		n.wantStored(recorded{first, []string{stored}}, recorded{second, []string{asked}}, recorded{slow, []string{"docker.io/library/nginx:2"}})
	})
}

// TestNamingKeepsLoadedNames: another client moves the registry's tag to another image before the
// tag is deleted.
func TestNamingKeepsLoadedNames(t *testing.T) {
	first, loaded := newContent("first"), newContent("loaded")
	bubble(t, func(t *testing.T, n *namingNode) {
		n.pushAs(first, stored)
		n.push(hub + "/library/nginx:2")
		n.during("nginx:2", func() {
			n.mustPull(asked)
			n.load(loaded, stored)
		})
		n.settled()
		n.wantName(stored, loaded)
		n.wantName(asked, first)
	})
}

// TestNamingOfEarlierAnswers: the runtime produces a list before the registry's names are deleted,
// and the shim receives it after that.
func TestNamingOfEarlierAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, n *namingNode) {
		n.push(stored)
		const method = "/runtime.v1.ImageService/ListImages"
		rawList := func() []byte {
			raw, err := n.runtime.invoke(context.Background(), method, nil)
			if err != nil {
				t.Errorf("list: %v", err)
			}
			return raw
		}
		forwarding, ok := n.rewriter.Forward()[method]()
		if !ok {
			t.Fatal("lists are not forwarded before any pull")
		}
		handled := func(raw []byte) []string {
			if forwarding.Unchanged(raw[:1]) {
				t.Error("the answer passes unchanged")
			}
			response := &runtime.ListImagesResponse{}
			if err := proto.Unmarshal(forwarding.Restore(t.Context(), nil, raw, n.runtime.invoke), response); err != nil {
				t.Error(err)
			}
			for _, image := range response.Images {
				if all := imagename.References(image); len(slices.Compact(slices.Sorted(slices.Values(all)))) < len(all) {
					t.Errorf("duplicates in %q", all)
				}
			}
			return allNames(response.Images)
		}
		var raw []byte
		n.set(func(_ context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
			if raw == nil && strings.HasPrefix(call, "Images.Delete") {
				raw = rawList()
			}
			return invoke()
		})
		n.mustPull(asked)
		n.wantNoRegistry()
		if !strings.Contains(string(raw), hub) {
			t.Fatalf("no earlier list with the registry's names: %q", raw)
		}
		now := n.list()
		if got := handled(raw); !slices.Equal(got, now) {
			t.Errorf("the earlier list becomes %q, want %q", got, now)
		}
		time.Sleep(deletedTTL - time.Second/2)
		if got := handled(raw); !slices.Equal(got, now) {
			t.Errorf("the earlier list becomes later %q, want %q", got, now)
		}
		time.Sleep(time.Second)
		n.direct(stored)
		time.Sleep(time.Second)
		if got := strings.Join(n.list(), "\n"); !strings.Contains(got, stored) || !strings.Contains(got, asked) {
			t.Errorf("list after a pull by the own name: %s", got)
		}
	})
}

// TestNamingKeepsLabels checks that labels of another client on the requested name stay when the name
// is pulled again, with the same image and with another one.
func TestNamingKeepsLabels(t *testing.T) {
	for what, again := range map[string]content{"the same image": newContent("first"), "another image": newContent("second")} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				n.pushAs(newContent("first"), stored)
				n.mustPull(asked)
				n.runtime.mutex.Lock()
				record := proto.CloneOf(n.runtime.records[asked])
				record.Labels[containerd.PinnedLabel], record.Labels["example.com/owner"] = "pinned", "team"
				n.runtime.store(record)
				n.runtime.mutex.Unlock()
				n.pushAs(again, stored)
				n.set(nil)
				n.mustPull(asked)
				n.settled()
				n.wantName(asked, again)
				moves := again.digest != record.GetTarget().GetDigest()
				if updates := slices.Contains(n.seen(), "Images.Update "+asked); updates && !moves {
					t.Error("the name was updated although it has its image")
				}
				if _, labels := n.storedAs(asked); labels[containerd.PinnedLabel] != "pinned" || labels["example.com/owner"] != "team" {
					t.Errorf("labels %q", labels)
				}
			})
		})
	}
}

// TestNamingOfOneConfiguration pulls two manifests with the same configuration concurrently.
func TestNamingOfOneConfiguration(t *testing.T) {
	first := newContent("first")
	second := content{id: first.id, digest: newContent("second").digest}
	each(t, func(t *testing.T, n *namingNode, number int) bool {
		after := time.Duration(number) * time.Millisecond / 2
		n.pushAs(first, hub+"/team/app:1")
		n.pushAs(second, hub+"/team/app:2")
		n.together(func() { n.mustPull("docker.io/team/app:1") }, func() {
			time.Sleep(after)
			n.mustPull("quay.io/team/app:2")
		})
		n.settled()
		n.wantStored(recorded{first, []string{"docker.io/team/app:1"}}, recorded{second, []string{"quay.io/team/app:2"}})
		return number < 80 && !t.Failed()
	})
}

// TestNamingListsMovedTagsOnce: the requested tag moves to another image while clients list.
func TestNamingListsMovedTagsOnce(t *testing.T) {
	first, second := newContent("first"), newContent("second")
	for what, slow := range map[string]string{"alone": "", "beside another pull": "nginx:2"} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				n.pushAs(first, stored)
				n.mustPull(asked)
				n.pushAs(second, stored)
				n.push(hub + "/library/nginx:2")
				if slow == "" {
					n.listsOnce(asked)
				} else {
					n.during(slow, func() { n.listsOnce(asked) })
				}
				n.settled()
				n.wantName(asked, second)
			})
		})
	}
}

// listsOnce pulls a name, and checks for one more second that lists have it on one image only.
func (n *namingNode) listsOnce(asked string) {
	n.t.Helper()
	ended := make(chan struct{})
	n.together(func() {
		defer close(ended)
		n.mustPull(asked)
		time.Sleep(time.Second)
	}, func() {
		for more := true; more; {
			select {
			case <-ended:
				more = false
			case <-time.After(time.Millisecond / 4):
			}
			on := 0
			list := n.list()
			for _, line := range list {
				on += strings.Count(line, asked)
			}
			if on != 1 {
				n.t.Errorf("%s is on %d images: %q", asked, on, list)
			}
		}
	})
}

// TestNamingOfATagThatMovesOn: another pull moves the registry's tag just after the namer has read
// the image, and the CRI shows the move a moment later.
func TestNamingOfATagThatMovesOn(t *testing.T) {
	first, second := newContent("first"), newContent("second")
	bubble(t, func(t *testing.T, n *namingNode) {
		n.pushAs(first, stored)
		var once sync.Once
		n.set(func(_ context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
			if digest, _ := n.storedAs(stored); digest == first.digest && strings.HasPrefix(call, "Images.Get ") && strings.HasSuffix(call, stored) {
				once.Do(func() {
					m := n.runtime
					m.mutex.Lock()
					defer m.mutex.Unlock()
					m.blobs[second.digest] = second.id
					record := proto.CloneOf(m.records[stored])
					record.Target.Digest = second.digest
					m.store(record)
				})
			}
			return invoke()
		})
		begun := time.Now()
		n.mustPull(asked)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the pull took %v", took)
		}
		n.wantName(asked, first)
		if warnings := n.warned(); len(warnings) > 0 {
			t.Errorf("warnings %q", warnings)
		}
		n.settled()
		n.wantName(asked, first)
	})
}

// TestNamingRemovalBesideASlowPull is like TestNamingRemovalDuringAPull, but after the image was
// named, while the registry's names stay until another pull has ended.
func TestNamingRemovalBesideASlowPull(t *testing.T) {
	const pulled, reference = "quay.io/team/app:1", hub + "/team/app:1"
	for _, other := range []string{"docker.io/team/app:1", reference} {
		t.Run(other, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) {
				image, slow := n.push(reference), n.push(hub+"/team/app:2")
				n.during("quay.io/team/app:2", func() {
					n.mustPull(pulled)
					n.remove(other)
					if got := n.status(other); got != nil {
						t.Errorf("status of %s: %s", other, names(got))
					}
					n.wantName(pulled, image)
				})
				n.settled()
				n.wantStored(recorded{image, []string{pulled}}, recorded{slow, []string{"quay.io/team/app:2"}})
			})
		})
	}
}

// TestNamingOfAnUnusableImage pulls an image for other platforms only. containerd 2 stores its
// name before the pull fails, and the CRI never shows it.
func TestNamingOfAnUnusableImage(t *testing.T) {
	unusable, usable := newContent("unusable"), newContent("usable")
	for _, name := range []string{asked, "docker.io/library/nginx@" + unusable.digest} {
		for _, fallsBack := range []bool{false, true} {
			t.Run(fmt.Sprintf("%.25s %t", name, fallsBack), func(t *testing.T) {
				bubble(t, func(t *testing.T, n *namingNode) {
					n.runtime.unusable = unusable.digest
					n.pushAs(unusable, stored)
					if fallsBack && name == asked {
						n.pushAs(usable, asked)
					}
					_, err := n.pull(name)
					if (err == nil) != (fallsBack && name == asked) {
						t.Errorf("the pull ended with %v", err)
					}
					n.settled()
					n.wantNoRegistry()
				})
			})
		}
	}
}

// TestNamingKeepsAnUnusableImage checks that an unusable image stays if a client has pulled it by
// the registry's name.
func TestNamingKeepsAnUnusableImage(t *testing.T) {
	unusable := newContent("unusable")
	bubble(t, func(t *testing.T, n *namingNode) {
		n.runtime.unusable = unusable.digest
		n.pushAs(unusable, stored)
		if _, err := n.pull(stored); err == nil {
			t.Fatal("the image can be pulled")
		}
		if _, err := n.pull(asked); err == nil {
			t.Error("the image can be pulled by another name")
		}
		n.settled()
		if digest, _ := n.storedAs(stored); digest != unusable.digest {
			t.Errorf("containerd has %q", n.runtime.stored())
		}
	})
}

// TestNamingOfAnUnusableImageAfterAKill kills the shim after each call of such a pull.
func TestNamingOfAnUnusableImageAfterAKill(t *testing.T) {
	each(t, func(t *testing.T, n *namingNode, number int) bool {
		unusable := newContent("unusable")
		n.restartIn(t.TempDir())
		n.runtime.unusable = unusable.digest
		n.pushAs(unusable, stored)
		_, killed := n.killAfter(number, func() { _, _ = n.pull(asked) })
		n.settled()
		n.wantNoRegistry()
		return killed
	})
}

// TestNamingRecordsBesideTheLastPull: the pull of a name ends while the registry's own name is
// pulled, and records the requested name in the ledger. The pull by the own name ends last and
// deletes the registry's other names at the same time. Sleeps order the two, because other
// means would hide a data race from the race detector.
func TestNamingRecordsBesideTheLastPull(t *testing.T) {
	first, second := newContent("first"), newContent("second")
	other := strings.Replace(stored, "1.25", "1.26", 1)
	for step := range 8 { // the call of the deletion that lasts until the ledger is written
		bubble(t, func(t *testing.T, n *namingNode) {
			n.pushAs(first, stored)
			n.pushAs(second, other)
			var recording atomic.Bool
			var calls atomic.Int64
			n.during(stored, func() {
				n.mustPull(strings.Replace(asked, "1.25", "1.26", 1))
				n.set(func(_ context.Context, _ int, call string, invoke func() ([]byte, error)) ([]byte, error) {
					switch {
					case recording.Load():
						if calls.Add(1) == int64(step) {
							time.Sleep(time.Second)
						}
					case call == "ImageStatus "+asked:
						recording.Store(true)
						time.Sleep(time.Second / 2) // the other pull ends
					}
					return invoke()
				})
				n.runtime.pullTime = time.Minute - time.Second/2
				n.mustPull(asked)
			})
			n.wantName(asked, first)
			n.wantName(stored, first)
			if digest, _ := n.storedAs(other); digest != "" {
				t.Errorf("containerd still has %s", other)
			}
		})
	}
}
