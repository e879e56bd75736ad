package rewrite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// The file and the times of package naming that the tests need.
const (
	journalName = "pulls.json"
	lastRetry   = 30 * time.Second
	cancelGrace = 3 * time.Second
	viewTimeout = 5 * time.Second
	deletedTTL  = 2 * time.Second
)

// namingNode is a containerd in memory with a shim. Its methods make calls of a client through
// the shim.
type namingNode struct {
	t         *testing.T
	runtime   *memoryContainerd
	directory string      // state directory; if empty, nothing is saved
	refused   bool        // the last pull failed because the runtime was unavailable
	away      bool        // clients can't reach the runtime either, or were cancelled
	killed    atomic.Bool // clients get no more answers from the first shim
	*shim
}

// shim is a rewriter with its namer, until it is killed.
type shim struct {
	ledger   *ledger.Ledger
	namer    *naming.Namer
	rewriter *Rewriter

	mutex    sync.Mutex
	calls    []string // calls of the namer
	hook     func(ctx context.Context, number int, call string, invoke func() ([]byte, error)) ([]byte, error)
	warnings []string
	informed []string
	end      func()
}

const (
	asked  = "docker.io/library/nginx:1.25"
	stored = hub + "/library/nginx:1.25"
)

// newNamingNode starts a node without a state directory. It must be called in a synctest bubble,
// which also checks that all goroutines end.
func newNamingNode(t *testing.T) *namingNode {
	t.Helper()
	n := &namingNode{t: t, runtime: newMemoryContainerd()}
	n.start()
	t.Cleanup(func() { n.end() })
	return n
}

// restartIn stops the shim and starts another one with a state directory.
func (n *namingNode) restartIn(directory string) {
	n.t.Helper()
	n.end()
	n.directory = directory
	n.start()
}

// start starts a shim with the state directory, and its background work.
func (n *namingNode) start() {
	n.t.Helper()
	n.prepare()
	n.run()
}

// prepare creates a shim without starting its background work.
func (n *namingNode) prepare() {
	n.t.Helper()
	s := &shim{end: func() {}}
	n.shim = s
	s.ledger = ledger.New()
	if n.directory != "" {
		var err error
		if s.ledger, err = ledger.Open(n.directory); err != nil {
			n.t.Fatal(err)
		}
	}
	s.namer = naming.New(naming.Options{Invoke: s.watched(n.runtime.invoke), Ledger: s.ledger, Directory: n.directory, Warn: s.warn, Inform: s.inform})
	s.rewriter = New(Options{
		Lookup: sharedLookup{memoryLookup{runtime: n.runtime.remote, registries: []memoryRegistry{{host: hub}, {host: "mirror.test"}}}},
		Ledger: s.ledger,
		Namer:  s.namer,
		Warn:   s.warn,
	})
}

// sharedLookup is a [Lookup] for concurrent clients. It does not record the outcomes.
type sharedLookup struct{ memoryLookup }

func (sharedLookup) Pulled(Candidate)                {}
func (sharedLookup) Failed(Candidate, time.Duration) {}

// run starts the background work.
func (n *namingNode) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	namer := n.namer
	go func() {
		defer close(ended)
		namer.Run(ctx)
	}()
	n.end = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	synctest.Wait()
}

func (s *shim) warn(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.warnings = append(s.warnings, err.Error())
}

// warned returns the warnings since the last call.
func (s *shim) inform(text string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.informed = append(s.informed, text)
}

// told returns the messages to Inform since the last call.
func (s *shim) told() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	told := s.informed
	s.informed = nil
	return told
}

func (s *shim) warned() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	warnings := s.warnings
	s.warnings = nil
	return warnings
}

// watched records the namer's calls, and calls the hook before and after each.
func (s *shim) watched(invoke intercept.Invoke) intercept.Invoke {
	return func(ctx context.Context, method string, request []byte) ([]byte, error) {
		call := describe(method, request)
		s.mutex.Lock()
		s.calls = append(s.calls, call)
		number, hook := len(s.calls), s.hook
		s.mutex.Unlock()
		if hook == nil {
			return invoke(ctx, method, request)
		}
		return hook(ctx, number, call, func() ([]byte, error) { return invoke(ctx, method, request) })
	}
}

// describe returns the name of a call and its argument.
func describe(method string, request []byte) string {
	service, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	service = service[strings.LastIndex(service, ".")+1:]
	if service == "Images" || service == "Content" {
		short = service + "." + short
	}
	switch service {
	case "Images", "Content", "ImageService":
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return ' '
			}
			return r
		}, string(request))
		if fields := strings.Fields(text); len(fields) > 0 {
			return short + " " + shortDigest(fields[0])
		}
	}
	return short
}

// set sets the hook and clears the recorded calls.
func (s *shim) set(hook func(ctx context.Context, number int, call string, invoke func() ([]byte, error)) ([]byte, error)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.calls, s.hook = nil, hook
}

// seen returns the namer's calls since set.
func (s *shim) seen() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.calls)
}

// call makes a client's call as the proxy does: with Opaque, Pass or Unary.
func (n *namingNode) call(ctx context.Context, service, method string, request, response proto.Message) error {
	n.t.Helper()
	full := "/runtime.v1." + service + "/" + method
	encoded, err := proto.Marshal(request)
	if err != nil {
		n.t.Fatal(err)
	}
	raw, err := n.forward(ctx, full, encoded)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(raw, response); err != nil {
		n.t.Errorf("%s: the answer can't be decoded: %v", method, err)
	}
	return nil
}

func (n *namingNode) forward(ctx context.Context, full string, request []byte) ([]byte, error) {
	if opaque := n.rewriter.Opaque()[full]; opaque != nil && opaque() {
		return n.runtime.invoke(ctx, full, request)
	}
	if pass := n.rewriter.Pass()[full]; pass != nil {
		if restore, ok := pass(request); ok {
			answer, err := n.runtime.invoke(ctx, full, request)
			if err != nil || restore == nil {
				return answer, err
			}
			return restore(ctx, answer, n.runtime.invoke), nil
		}
	}
	return n.rewriter.Unary()[full](ctx, request, n.runtime.invoke)
}

func (n *namingNode) pull(image string) (string, error) { return n.pullWith(n.t.Context(), image) }

func (n *namingNode) pullWith(ctx context.Context, image string) (string, error) {
	response := &runtime.PullImageResponse{}
	err := n.call(ctx, "ImageService", "PullImage", &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}}, response)
	return response.ImageRef, err
}

func (n *namingNode) mustPull(image string) string {
	n.t.Helper()
	id, err := n.pull(image)
	if err != nil {
		n.t.Errorf("pull %s: %v", image, err)
	}
	return id
}

func (n *namingNode) status(image string) *runtime.Image {
	n.t.Helper()
	response := &runtime.ImageStatusResponse{}
	if err := n.call(n.t.Context(), "ImageService", "ImageStatus", &runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: image}}, response); err != nil {
		n.t.Errorf("status of %s: %v", image, err)
	}
	return response.Image
}

func (n *namingNode) remove(image string) {
	n.t.Helper()
	if err := n.call(n.t.Context(), "ImageService", "RemoveImage", &runtime.RemoveImageRequest{Image: &runtime.ImageSpec{Image: image}}, &runtime.RemoveImageResponse{}); err != nil {
		n.t.Errorf("remove %s: %v", image, err)
	}
}

func (n *namingNode) list() []string {
	n.t.Helper()
	response := &runtime.ListImagesResponse{}
	if err := n.call(n.t.Context(), "ImageService", "ListImages", &runtime.ListImagesRequest{}, response); err != nil {
		n.t.Errorf("list: %v", err)
	}
	return allNames(response.Images)
}

func (n *namingNode) create(image, specified string) (string, error) {
	n.t.Helper()
	response := &runtime.CreateContainerResponse{}
	err := n.call(n.t.Context(), "RuntimeService", "CreateContainer", &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{
		Image: &runtime.ImageSpec{Image: image, UserSpecifiedImage: specified},
	}}, response)
	return response.ContainerId, err
}

func (n *namingNode) containerStatus(container string) *runtime.ContainerStatus {
	n.t.Helper()
	response := &runtime.ContainerStatusResponse{}
	if err := n.call(n.t.Context(), "RuntimeService", "ContainerStatus", &runtime.ContainerStatusRequest{ContainerId: container}, response); err != nil {
		n.t.Errorf("status of %s: %v", container, err)
	}
	return response.Status
}

// push adds an image to registries under each of the references.
func (n *namingNode) push(references ...string) content {
	image := newContent(references[0])
	n.pushAs(image, references...)
	return image
}

func (n *namingNode) pushAs(image content, references ...string) {
	n.runtime.remote.mutex.Lock()
	defer n.runtime.remote.mutex.Unlock()
	for _, reference := range references {
		n.runtime.remote.remote[reference] = image
	}
}

// direct pulls as a client that does not use the shim.
func (n *namingNode) direct(image string) {
	n.t.Helper()
	encoded, _ := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}})
	if _, err := n.runtime.invoke(n.t.Context(), "/runtime.v1.ImageService/PullImage", encoded); err != nil {
		n.t.Errorf("pull %s directly: %v", image, err)
	}
}

// records returns the records that containerd would have after direct pulls of images by their
// requested names.
func records(pulled ...recorded) []string {
	var lines []string
	for _, p := range pulled {
		digest := p.content.digest[len("sha256:"):][:6]
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, shortDigest(p.content.id)+" ") })
		lines = append(lines, shortDigest(p.content.id)+" "+digest) // belongs to the latest pull
		for _, name := range p.names {
			if !strings.Contains(name, "@") {
				lines = append(lines, name+" "+digest)
			}
			lines = append(lines, imagename.Repository(name)+"@"+digest+" "+digest)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

type recorded struct {
	content content
	names   []string
}

// wantStored checks the records of containerd.
func (n *namingNode) wantStored(want ...recorded) {
	n.t.Helper()
	if got, want := n.runtime.stored(), records(want...); !slices.Equal(got, want) {
		n.t.Errorf("containerd has\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// settled waits until the background work is complete, and checks that nothing remains to do.
func (n *namingNode) settled() {
	n.t.Helper()
	for range 20 {
		if n.isSettled() {
			break
		}
		time.Sleep(lastRetry)
		synctest.Wait()
	}
	if !n.isSettled() {
		entries, _ := n.ledger.Search("")
		n.t.Errorf("not settled: idle %v, ledger %+v, hidden %v, journal %s; warnings %q", n.namer.Idle(), entries, n.ledger.ImageIDs(), n.journaled(), n.warned())
	}
}

func (n *namingNode) isSettled() bool {
	return n.namer.Idle() && !n.ledger.MayRestore() && !strings.Contains(n.journaled(), "original")
}

// journaled returns the text of the journal.
func (n *namingNode) journaled() string {
	content, err := os.ReadFile(filepath.Join(n.directory, journalName))
	if err != nil {
		return ""
	}
	return string(content)
}

// copyState returns a copy of the state directory.
func (n *namingNode) copyState() string {
	n.t.Helper()
	directory := n.t.TempDir()
	files, err := os.ReadDir(n.directory)
	if err != nil {
		n.t.Error(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(n.directory, file.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(directory, file.Name()), content, 0o600)
		}
		if err != nil {
			n.t.Error(err)
		}
	}
	return directory
}

var errKilled = status.Error(codes.Unavailable, "the shim was killed")

// killAfter kills the shim after a call of the namer, and starts another one when the goroutines
// of the first have ended. It reports whether the shim made that call.
func (n *namingNode) killAfter(number int, work func()) (call string, killed bool) {
	n.t.Helper()
	state := ""
	s := n.shim
	var mutex sync.Mutex
	s.set(func(_ context.Context, at int, what string, invoke func() ([]byte, error)) ([]byte, error) {
		mutex.Lock()
		defer mutex.Unlock()
		if state != "" {
			return nil, errKilled
		}
		answer, err := invoke()
		if at == number {
			state, call = n.copyState(), what
			n.killed.Store(true)
			return nil, errKilled
		}
		return answer, err
	})
	work()
	synctest.Wait()
	time.Sleep(10 * time.Second) // wait for the work after failed pulls
	mutex.Lock()
	killed = state != ""
	mutex.Unlock()
	if !killed {
		s.set(nil)
		return "", false
	}
	n.restartIn(state)
	return call, true
}

// bubble runs a test with a node in a synctest bubble.
func bubble(t *testing.T, test func(*testing.T, *namingNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newNamingNode(t)) })
}

// each runs a test with the numbers from 1 until the test returns false.
func each(t *testing.T, test func(*testing.T, *namingNode, int) bool) {
	t.Helper()
	for number, more := 1, true; more; number++ {
		t.Run(fmt.Sprint(number), func(t *testing.T) {
			bubble(t, func(t *testing.T, n *namingNode) { more = test(t, n, number) })
		})
		if number > 200 {
			t.Fatal("there is no end of calls")
		}
	}
}
