package naming

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// gate makes a change of names in the runtime wait for running calls that the change would
// break:
//
//   - PullImage fails if a name in the repository that it pulls from is deleted meanwhile.
//   - CreateContainer fails if a name of its image is deleted between two reads of the image
//     in the runtime.
//   - RemoveImage leaves some of an image's names if names are added meanwhile.
//
// It is safe for concurrent use.
type gate struct {
	mutex        sync.Mutex
	changed      chan struct{} // closed and replaced when waiting calls must check their conditions again
	repositories map[string]*repositoryPulls
	users        map[string]int         // number of calls that use an image, by image ID
	excluded     map[string]struct{}    // IDs of images with names that are being changed
	waiting      map[string]int         // number of changes that wait for users of an image, by image ID
	deleted      map[string]deletedName // recently deleted names
}

func newGate() *gate {
	return &gate{
		deleted:      make(map[string]deletedName),
		changed:      make(chan struct{}),
		repositories: make(map[string]*repositoryPulls),
		users:        make(map[string]int),
		excluded:     make(map[string]struct{}),
		waiting:      make(map[string]int),
	}
}

// idle reports whether no pull is in progress and no name is being changed.
func (g *gate) idle() bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return len(g.repositories) == 0 && len(g.excluded) == 0
}

// await waits until ready reports true, and returns with the mutex held. If ctx is done
// before, it returns the error of ctx without the mutex held. ready is called with the mutex
// held.
func (g *gate) await(ctx context.Context, ready func() bool) error {
	g.mutex.Lock()
	for !ready() {
		changed := g.changed
		g.mutex.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		g.mutex.Lock()
	}
	return nil
}

// broadcast makes the waiting calls check their conditions. The caller holds the mutex.
func (g *gate) broadcast() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// use begins a call that uses images, given by their IDs. It waits while their names are
// being changed or a change of them waits. If it returns no error, the caller must call done.
func (g *gate) use(ctx context.Context, images ...string) (done func(), err error) {
	images = hexIDs(images)
	err = g.await(ctx, func() bool {
		return !slices.ContainsFunc(images, func(image string) bool {
			_, excluded := g.excluded[image]
			return excluded || g.waiting[image] > 0
		})
	})
	if err != nil {
		return nil, err
	}
	defer g.mutex.Unlock()
	for _, image := range images {
		g.users[image]++
	}
	return func() {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		for _, image := range images {
			subtract(g.users, image)
		}
		g.broadcast()
	}, nil
}

// usersTimeout limits the wait of a change for the calls that use an image. New calls wait
// too during that time.
const usersTimeout = 5 * time.Second

// exclude begins a change of the names of images, given by their IDs. It waits until no call
// uses one of them. If it returns no error, the caller must call done.
func (g *gate) exclude(ctx context.Context, images ...string) (done func(), err error) {
	images = hexIDs(images)
	ctx, cancel := context.WithTimeout(ctx, usersTimeout)
	defer cancel()
	g.mutex.Lock()
	for _, image := range images {
		g.waiting[image]++
	}
	g.mutex.Unlock()
	err = g.await(ctx, func() bool {
		return !slices.ContainsFunc(images, func(image string) bool {
			_, excluded := g.excluded[image]
			return excluded || g.users[image] > 0
		})
	})
	if err != nil {
		g.mutex.Lock()
	}
	defer g.mutex.Unlock()
	for _, image := range images {
		subtract(g.waiting, image)
	}
	if err != nil {
		g.broadcast()
		return nil, err
	}
	for _, image := range images {
		g.excluded[image] = struct{}{}
	}
	return func() {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		for _, image := range images {
			delete(g.excluded, image)
		}
		g.broadcast()
	}, nil
}

// hexIDs returns image IDs without their algorithm, which clients may omit.
func hexIDs(images []string) []string {
	ids := make([]string, len(images))
	for i, image := range images {
		ids[i] = strings.TrimPrefix(image, "sha256:")
	}
	return ids
}

func subtract(counts map[string]int, key string) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}
