// Package naming gives images that were pulled from a registry their requested names in
// containerd itself, and deletes the registry's names.
//
// After a pull of nginx:1.25 as hub:5000/library/nginx:1.25, it creates
// docker.io/library/nginx:1.25 in containerd and deletes hub:5000/library/nginx:1.25:
//
//	namer := naming.New(naming.Options{Invoke: invoke, Ledger: ledger, Directory: stateDirectory})
//	pull, err := namer.BeginPull(ctx, ledger.Origin{
//		Original: "docker.io/library/nginx:1.25",
//		Stored:   "hub:5000/library/nginx:1.25",
//	})
//	// The runtime pulls hub:5000/library/nginx:1.25.
//	mode := pull.Complete(ctx, imageID) // or pull.Fail(ctx, err)
//
// # Terms
//
//   - A record is an entry of containerd's images service: a name, the manifest that it means
//     (its target), and labels.
//   - A pull for another name is a pull from a registry by a name that the client did not ask
//     for, such as that of nginx:1.25 as hub:5000/library/nginx:1.25. Its names in the
//     registry's repository are deleted.
//   - A pull by its own name is a client's pull of hub:5000/library/nginx:1.25 itself, which
//     the client asked for. Its name must stay.
//   - A kept name is a name in the registry's repository that must stay, because it existed
//     before the pulls or was asked for itself.
//   - A hidden name is a name of the registry that clients do not see on an image, because the
//     ledger hides it and no client has asked for the image by it.
//
// # Files
//
// In the order in which a pull uses them:
//
//   - pull.go begins and ends a pull.
//   - name.go and put.go create the names of the image.
//   - settle.go and records.go delete the registry's names after the last pull from a
//     repository.
//   - interrupted.go names the image of an interrupted pull.
//   - fallback.go records the names in the ledger if naming fails.
//   - gate.go, repository.go and deleted.go order these changes with other calls.
//   - view.go replaces the registry's names in answers while they still exist.
//   - run.go works in the background: it repairs the pulls in the journal (journal.go) and
//     moves the names in the ledger into containerd (from_ledger.go, ledger_entries.go).
package naming

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/printable"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/containerd"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/ledger"
)

// Namer gives images that were pulled from a registry their requested names in the runtime. After
// a pull of docker.io/library/nginx:1.25 as hub:5000/library/nginx:1.25, containerd has the image
// as
//
//	docker.io/library/nginx:1.25
//	docker.io/library/nginx@sha256:<digest of its manifest>
//
// and no longer under the registry's names. Every client sees the same names as without the
// shim, and answers need no change.
//
// A Namer needs containerd's images service. Without it, or if the naming of an image has
// failed, the [ledger.Ledger] records the names instead. A Namer is safe for concurrent use.
type Namer struct {
	images  containerd.Images
	runtime cri.Client
	ledger  *ledger.Ledger
	journal *journal
	gate    *gate
	warn    func(error)
	inform  func(string)
	repairs atomic.Int32 // number of repositories with a failed repair that is retried
	status  atomic.Pointer[Status]
	sandbox *sandboxNames
	tasks   tasks
	trigger chan struct{}
	resumed []resumedPulls // pulls in the journal that Run repairs
}

// Options are the parts of a [Namer].
type Options struct {
	// Invoke calls the runtime outside of any client's call, with the outgoing metadata of
	// its context.
	Invoke intercept.Invoke
	Ledger *ledger.Ledger
	// Directory is the state directory, which holds the journal of pulls. If it is empty,
	// the journal is not saved.
	Directory string
	// Warn, if not nil, is called with errors that do not fail a call.
	Warn func(error)
	// Inform, if not nil, is called with changes that are not part of a pull: another mode,
	// and names that were added or repaired in the background.
	Inform func(string)
}

// Status is the mode of a [Namer] and its reason.
type Status struct {
	Mode   Mode
	Reason string // a short text for display
	Stale  bool   // the runtime did not answer the probe; Mode is the last known one
}

// Mode is the place where the names of pulled images are kept.
type Mode string

const (
	InRuntime Mode = "runtime" // containerd has the names
	InLedger  Mode = "ledger"  // the shim restores the names in answers
	Unknown   Mode = "unknown" // the runtime has not been reached yet
)

// New returns a namer. It reads the journal for pulls that an earlier shim has not finished,
// which [Namer.Run] then repairs.
func New(options Options) *Namer {
	n := &Namer{
		images:  containerd.Images{Invoke: options.Invoke},
		runtime: cri.Client{Version: cri.Versions[0], Invoke: cri.EitherVersion(options.Invoke)},
		ledger:  options.Ledger,
		journal: newJournal(options.Directory),
		gate:    newGate(),
		sandbox: newSandboxNames(),
		trigger: make(chan struct{}, 1),
		warn:    options.Warn,
		inform:  options.Inform,
	}
	if n.warn == nil {
		n.warn = func(error) {}
	}
	if n.inform == nil {
		n.inform = func(string) {}
	}
	n.status.Store(&Status{Mode: Unknown, Reason: "the runtime has not been reached yet"})
	repositories, err := n.journal.load()
	if err != nil {
		n.warn(fmt.Errorf("could not read the journal, images of interrupted pulls may keep the registry's names (see image-cri-shim doctor): %w", err))
	}
	for name, of := range repositories {
		n.resumed = append(n.resumed, resumedPulls{name, n.gate.resume(name, of)})
	}
	return n
}

// Status returns the mode that follows from the last answer of the runtime. The mode of a nil
// namer is InLedger.
func (n *Namer) Status() Status {
	if n == nil {
		return Status{Mode: InLedger, Reason: "names: ledger"}
	}
	return *n.status.Load()
}

// InRuntime reports whether the mode is InRuntime.
func (n *Namer) InRuntime() bool { return n.Status().Mode == InRuntime }

// Idle reports whether no pull from a registry is in progress and no name is being changed in
// the runtime. Calls that use an image then need not wait.
func (n *Namer) Idle() bool { return n == nil || n.gate.idle() }

// Use begins a call that uses images, given by their IDs. It waits while their names are
// being changed. If it returns no error, the caller must call done.
func (n *Namer) Use(ctx context.Context, images ...string) (done func(), err error) {
	if n == nil {
		return func() {}, nil
	}
	if done, err = n.gate.use(ctx, images...); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return done, nil
}

// Probe checks whether the runtime serves containerd's images service, and returns the
// resulting status. If the runtime can't be reached, the status is the last known one, and Stale.
// A nil namer does not call the runtime.
func (n *Namer) Probe(ctx context.Context) Status {
	if n == nil {
		return n.Status()
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	_, err := n.images.List(ctx, `name==""`)
	n.updateStatus(err)
	status := n.Status()
	status.Stale = err != nil && cri.EndsCall(err) && status.Mode != Unknown
	return status
}

// reasonLimit limits the runtime's text in the reason of a mode, in bytes.
const reasonLimit = 300

// updateStatus sets the mode after a call to the images service. err is the error of the
// call, or nil.
func (n *Namer) updateStatus(err error) {
	naming := Status{Mode: InRuntime, Reason: "containerd's images service answers"}
	switch {
	case err == nil:
	case cri.EndsCall(err):
		return
	case status.Code(err) == codes.Unimplemented:
		naming = Status{Mode: InLedger, Reason: "the runtime does not serve containerd's images service"}
	default:
		naming = Status{Mode: InLedger, Reason: "the runtime's images service refuses: " + printable.Line(status.Convert(err).Message(), reasonLimit)}
	}
	if before := n.status.Swap(&naming); before.Mode != naming.Mode {
		n.inform(fmt.Sprintf("the names of pulled images are kept in the %s: %s", naming.Mode, naming.Reason))
	}
}

// Repairs returns the number of repositories with registry names that the runtime still shows
// because deleting or replacing them has failed. The namer retries these.
func (n *Namer) Repairs() int {
	if n == nil {
		return 0
	}
	return int(n.repairs.Load())
}

// nameTimeout limits the naming of one image, which continues if the client cancels its call.
const nameTimeout = 20 * time.Second
