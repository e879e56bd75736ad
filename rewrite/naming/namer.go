// Package naming gives images that were pulled from a registry the names that were asked
// for, in containerd itself, and deletes the names under which they were pulled.
//
//	namer := naming.New(naming.Options{Invoke: invoke, Ledger: ledger, Directory: stateDirectory})
//	pull, err := namer.BeginPull(ctx, origin)
//	// the runtime pulls origin.Stored
//	mode := pull.Complete(ctx, imageID) // or pull.Fail(ctx, err)
//
// A pull passes these files: pull.go (begin and end), name.go and put.go (the names that the
// image gets), settle.go and records.go (the last pull from a repository deletes the
// registry's names), interrupted.go (a pull that was cut off), fallback.go (the ledger
// instead). The gate (gate.go, repository.go, deleted.go) orders these with other calls, and
// view.go shows clients the names that are about to come. run.go works in the background, on
// the pulls in the journal (journal.go) and on the names in the ledger (from_ledger.go,
// ledger_entries.go).
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
// failed, the [ledger.Ledger] remembers the names instead. It is safe for concurrent use.
type Namer struct {
	images  containerd.Images
	runtime cri.Client
	ledger  *ledger.Ledger
	journal *journal
	gate    *gate
	warn    func(error)
	inform  func(string)
	repairs atomic.Int32 // repositories whose repair has failed and is tried again
	status  atomic.Pointer[Status]
	sandbox *sandboxNames
	tasks   tasks
	trigger chan struct{}
	resumed []resumedPulls // that Run is to repair
}

// Options says what a [Namer] works with.
type Options struct {
	// Invoke calls the runtime on behalf of no client, with the outgoing metadata of
	// its context.
	Invoke intercept.Invoke
	Ledger *ledger.Ledger
	// Directory is the state directory, for the journal of pulls under way. The
	// journal is not kept where it is empty.
	Directory string
	// Warn, where not nil, is called with what went wrong without failing a call.
	Warn func(error)
	// Inform, where not nil, is called with what the namer has done without a pull: a
	// change of the mode, and names that were given or repaired in the background.
	Inform func(string)
}

// Status says where the names of pulled images are kept.
type Status struct {
	Mode   Mode
	Reason string // in a few words
}

// Mode is the place where the names are kept.
type Mode string

const (
	InRuntime Mode = "runtime" // containerd has them
	InLedger  Mode = "ledger"  // the shim restores them in answers
	Unknown   Mode = "unknown" // the runtime has not been reached yet
)

// New returns a namer. It reads the pulls that an earlier one has not finished, and
// [Namer.Run] repairs these.
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
		n.warn(fmt.Errorf("images of pulls that were cut off may keep a registry's name: %w", err))
	}
	for name, of := range repositories {
		n.resumed = append(n.resumed, resumedPulls{name, n.gate.resume(name, of)})
	}
	return n
}

// Status returns the place of the names, as of the last answer of the runtime. A nil namer
// keeps them in the ledger.
func (n *Namer) Status() Status {
	if n == nil {
		return Status{Mode: InLedger, Reason: "names: ledger"}
	}
	return *n.status.Load()
}

// InRuntime reports whether the runtime keeps the names.
func (n *Namer) InRuntime() bool { return n.Status().Mode == InRuntime }

// Idle reports whether no pull from a registry is under way and no name is being
// changed in the runtime: calls that use an image then need not wait.
func (n *Namer) Idle() bool { return n == nil || n.gate.idle() }

// Use begins a call that uses images, by their IDs. It waits while their names are being
// changed. Every successful use needs a call of done.
func (n *Namer) Use(ctx context.Context, images ...string) (done func(), err error) {
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
func (n *Namer) Probe(ctx context.Context) Status {
	if n == nil {
		return n.Status()
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	_, err := n.images.List(ctx, `name==""`)
	n.updateStatus(err)
	return n.Status()
}

// reasonLimit bounds the runtime's text in the reason of a mode, in bytes.
const reasonLimit = 300

// updateStatus derives the mode from the error of a call to the images service, nil if it
// has answered.
func (n *Namer) updateStatus(err error) {
	naming := Status{Mode: InRuntime, Reason: "containerd's images service answers"}
	switch {
	case err == nil:
	case cri.EndsCall(err):
		return
	case status.Code(err) == codes.Unimplemented:
		naming = Status{Mode: InLedger, Reason: "the runtime has no images service of containerd's"}
	default:
		naming = Status{Mode: InLedger, Reason: "the runtime's images service refuses: " + printable.Line(status.Convert(err).Message(), reasonLimit)}
	}
	if before := n.status.Swap(&naming); before.Mode != naming.Mode {
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

// nameTimeout bounds the naming of one image. It goes on when the client has gone.
const nameTimeout = 20 * time.Second
