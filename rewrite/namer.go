package rewrite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/containerd"
)

// Namer gives an image that was pulled from a registry the names that were asked for,
// in the runtime itself. After a pull of docker.io/library/nginx:1.25 as
// registry.example:5000/library/nginx:1.25, containerd has the image as
//
//	docker.io/library/nginx:1.25
//	docker.io/library/nginx@sha256:<digest of its manifest>
//
// and no longer under the registry's names: every client sees what it would see
// without the shim, and no answer has to be changed.
//
// It needs containerd's images service. Without it, and for an image whose naming has
// failed, the [Ledger] remembers the names instead. It is safe for concurrent use.
type Namer struct {
	images  containerd.Images
	runtime images
	ledger  *Ledger
	journal *journal
	gate    *gate
	warn    func(error)
	inform  func(string)
	repairs atomic.Int32 // repositories whose repair has failed and is tried again
	naming  atomic.Pointer[Naming]
	sandbox *sandboxNames
	tasks   tasks
	retry   chan struct{}
	resumed []resumedPulls // that Run is to repair
}

// NamerOptions says what a [Namer] works with.
type NamerOptions struct {
	// Invoke calls the runtime on behalf of no client, with the outgoing metadata of
	// its context.
	Invoke Invoke
	Ledger *Ledger
	// Directory is the state directory, for the journal of pulls under way. The
	// journal is not kept where it is empty.
	Directory string
	// Warn, where not nil, is called with what went wrong without failing a call.
	Warn func(error)
	// Inform, where not nil, is called with what the namer has done without a pull: a
	// change of the mode, and names that were given or repaired in the background.
	Inform func(string)
}

// Naming says where the names of pulled images are kept.
type Naming struct {
	Mode   NamingMode
	Reason string // in a few words
}

// NamingMode is the place where the names are kept.
type NamingMode string

const (
	NamesInRuntime NamingMode = "runtime" // containerd has them
	NamesInLedger  NamingMode = "ledger"  // the shim restores them in answers
	NamesUnknown   NamingMode = "unknown" // the runtime was not reached yet
)

// NewNamer makes a namer. It reads which pulls an earlier one has left undone, and
// [Namer.Run] repairs them.
func NewNamer(options NamerOptions) *Namer {
	n := &Namer{
		images:  containerd.Images{Invoke: containerd.Invoke(options.Invoke)},
		runtime: images{version: versions[0], invoke: eitherVersion(options.Invoke)},
		ledger:  options.Ledger,
		journal: newJournal(options.Directory),
		gate:    newGate(),
		sandbox: newSandboxNames(),
		retry:   make(chan struct{}, 1),
		warn:    options.Warn,
		inform:  options.Inform,
	}
	if n.warn == nil {
		n.warn = func(error) {}
	}
	if n.inform == nil {
		n.inform = func(string) {}
	}
	n.naming.Store(&Naming{Mode: NamesUnknown, Reason: "the runtime was not reached yet"})
	repositories, err := n.journal.load()
	if err != nil {
		n.warn(fmt.Errorf("images of pulls that were cut off may keep a registry's name: %w", err))
	}
	for name, of := range repositories {
		n.resumed = append(n.resumed, resumedPulls{name, n.gate.resume(name, of)})
	}
	return n
}

// Naming returns where the names are kept, as far as the runtime was asked. A nil
// namer keeps them in the ledger.
func (n *Namer) Naming() Naming {
	if n == nil {
		return Naming{Mode: NamesInLedger, Reason: "names: ledger"}
	}
	return *n.naming.Load()
}

// inRuntime reports whether the runtime keeps the names.
func (n *Namer) inRuntime() bool { return n.Naming().Mode == NamesInRuntime }

// idle reports whether no pull from a registry is under way and no name is being
// changed in the runtime: calls that use an image then need not wait.
func (n *Namer) idle() bool { return n == nil || n.gate.idle() }

// use begins a call that uses images, by their IDs. It waits while their names are being
// changed. Every successful use needs a call of done.
func (n *Namer) use(ctx context.Context, images ...string) (done func(), err error) {
	if n == nil {
		return func() {}, nil
	}
	if done, err = n.gate.use(ctx, images...); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return done, nil
}

// Probe asks the runtime whether it can keep names, and returns the answer. It
// returns the answer of before if the runtime can't be reached. A nil namer does not ask.
func (n *Namer) Probe(ctx context.Context) Naming {
	if n == nil {
		return n.Naming()
	}
	ctx, cancel := context.WithTimeout(ctx, namingTimeout)
	defer cancel()
	_, err := n.images.List(ctx, `name==""`)
	n.note(err)
	return n.Naming()
}

// note derives the mode from an answer of the images service.
func (n *Namer) note(err error) {
	naming := Naming{Mode: NamesInRuntime, Reason: "containerd's images service answers"}
	switch {
	case err == nil:
	case ends(err):
		return
	case status.Code(err) == codes.Unimplemented:
		naming = Naming{Mode: NamesInLedger, Reason: "the runtime has no images service of containerd's"}
	default:
		naming = Naming{Mode: NamesInLedger, Reason: "the runtime's images service refuses: " + oneLine(status.Convert(err).Message())}
	}
	if before := n.naming.Swap(&naming); before.Mode != naming.Mode {
		n.inform(fmt.Sprintf("the names of pulled images are kept in the %s: %s", naming.Mode, naming.Reason))
	}
}

// Repairs returns the number of repositories of registries whose names the runtime still
// shows because deleting or replacing them has failed. It is tried again.
func (n *Namer) Repairs() int {
	if n == nil {
		return 0
	}
	return int(n.repairs.Load())
}

// namingTimeout bounds the naming of one image. It goes on when the client has gone.
const namingTimeout = 20 * time.Second

// detached is the context of work that has to be ended once a pull has succeeded.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), namingTimeout)
}

// errRemoved says that an image has been removed while it was being named.
var errRemoved = errors.New("the image was removed meanwhile")

// binding is a name that an image is to get, and a record of the image that has the
// target and the labels for it.
type binding struct {
	name string
	from *containerd.Record
}

// put gives an image names. If the image has been removed meanwhile, the names are
// deleted again and the error is errRemoved.
func (n *Namer) put(ctx context.Context, image *runtime.Image, bindings []binding) error {
	for _, b := range bindings {
		if err := n.putOne(ctx, image, b); err != nil {
			return fmt.Errorf("give the image the name %s: %w", b.name, err)
		}
	}
	present, err := n.isWhole(ctx, image.GetId(), bindings)
	if err != nil || present {
		return err
	}
	for _, b := range bindings {
		err = errors.Join(err, n.images.Delete(ctx, &containerd.Record{Name: b.name, Target: b.from.GetTarget()}))
	}
	return errors.Join(errRemoved, err)
}

// putOne gives an image a name. A name that it has already is left alone if CRI shows it: an
// update would have containerd write and announce a change for each repeated pull.
func (n *Namer) putOne(ctx context.Context, image *runtime.Image, b binding) error {
	labels, err := n.labelsFor(ctx, b.name, b.from)
	if err != nil {
		return err
	}
	record := &containerd.Record{Name: b.name, Target: b.from.GetTarget(), Labels: labels}
	if hasName(image, b.name) {
		current, err := n.images.Get(ctx, b.name)
		if err != nil || current != nil && sameTarget(current, record) && maps.Equal(current.GetLabels(), labels) {
			return err
		}
	}
	return n.images.Put(ctx, record)
}

// isWhole reports whether an image is there with all that names need: containerd
// accepts names whose content has been removed, and CRI then does not see them.
func (n *Namer) isWhole(ctx context.Context, image string, bindings []binding) (bool, error) {
	checked := make(map[string]bool)
	for _, b := range bindings {
		digest := b.from.GetTarget().GetDigest()
		if checked[digest] {
			continue
		}
		checked[digest] = true
		if present, err := n.images.HasContent(ctx, b.from); err != nil || !present {
			return false, err
		}
	}
	// RemoveImage deletes this name too. The names above may have kept the content.
	id, err := n.images.Get(ctx, image)
	return id != nil, err
}

// labelsFor returns the labels of a record that is made from another. Only what
// containerd pins under its own name is pinned: the image that sandboxes run.
func (n *Namer) labelsFor(ctx context.Context, name string, from *containerd.Record) (map[string]string, error) {
	labels := make(map[string]string, len(from.GetLabels())+1)
	for key, value := range from.GetLabels() {
		if key != pinnedLabel {
			labels[key] = value
		}
	}
	sandbox, err := n.sandbox.names(ctx, n)
	if err == nil && slices.Contains(sandbox, name) {
		labels[pinnedLabel] = "pinned"
	}
	return labels, err
}

// viewTimeout bounds the wait for CRI to show what was changed. CRI takes events in
// order, and each may be delayed by those of other clients.
const viewTimeout = 5 * time.Second

// awaitView waits until CRI shows an image as wanted. It reports false if it did not
// in time.
func (n *Namer) awaitView(ctx context.Context, reference string, wanted func(id string, names []string) bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		image, err := n.runtime.status(ctx, reference)
		switch {
		case err == nil && wanted(image.GetId(), slices.Concat(image.GetRepoTags(), image.GetRepoDigests())):
			return true, nil
		case err != nil && ctx.Err() == nil:
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(pause):
		}
	}
}
