package rewrite

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
// failed, the [Ledger] remembers the names instead. It is safe for concurrent use.
type Namer struct {
	images  containerd.Images
	runtime cri.Client
	ledger  *ledger.Ledger
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
	NamesUnknown   NamingMode = "unknown" // the runtime has not been reached yet
)

// NewNamer makes a namer. It reads which pulls an earlier one has left undone, and
// [Namer.Run] repairs them.
func NewNamer(options NamerOptions) *Namer {
	n := &Namer{
		images:  containerd.Images{Invoke: options.Invoke},
		runtime: cri.Client{Version: cri.Versions[0], Invoke: cri.EitherVersion(options.Invoke)},
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
	n.naming.Store(&Naming{Mode: NamesUnknown, Reason: "the runtime has not been reached yet"})
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
	case cri.EndsCall(err):
		return
	case status.Code(err) == codes.Unimplemented:
		naming = Naming{Mode: NamesInLedger, Reason: "the runtime has no images service of containerd's"}
	default:
		naming = Naming{Mode: NamesInLedger, Reason: "the runtime's images service refuses: " + printable.Line(status.Convert(err).Message(), lineLimit)}
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
