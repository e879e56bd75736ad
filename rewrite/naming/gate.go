package naming

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// gate keeps changes of names in the runtime apart from the calls that they would
// break:
//
//   - PullImage fails when a name of the repository that it pulls from is deleted
//     meanwhile.
//   - CreateContainer fails when a name of its image is deleted between the
//     runtime's two looks at the image.
//   - RemoveImage leaves an image with half of its names when names are added to it
//     meanwhile.
//
// It is safe for concurrent use.
type gate struct {
	mutex        sync.Mutex
	changed      chan struct{} // closed and replaced when a call that waits should look again
	repositories map[string]*repositoryPulls
	users        map[string]int         // calls that use an image, by its ID
	excluded     map[string]struct{}    // images whose names are being changed, by ID
	waiting      map[string]int         // changes that wait for an image's users to end, by ID
	deleted      map[string]deletedName // names that were just deleted
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

// idle reports whether no pull is under way and no name is being changed.
func (g *gate) idle() bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return len(g.repositories) == 0 && len(g.excluded) == 0
}

// await returns with the mutex held once ready reports true, or returns ctx's error
// without it. ready is called with the mutex held.
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

// use begins a call that uses images. It waits while their names are being changed,
// and gives way to changes that wait. Every successful use needs a call of done.
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

// usersTimeout bounds the wait for the calls that use an image: while it lasts, new ones
// wait too.
const usersTimeout = 5 * time.Second

// exclude begins a change of the names of images. It waits for the calls that use
// one of them. Every successful exclude needs a call of done.
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

// hexIDs returns image IDs without their algorithm, which clients may leave out.
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
