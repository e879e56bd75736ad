package e2e

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestAgentServiceOfAPackage lets the agent configure a shim that a package owns and that runs
// without its socket unit, while clients use it. No call may fail until a key needs a restart: then
// the socket unit takes over, and each client may fail to connect once. The package's files stay,
// and the removal restores the configuration and the units' state.
func TestAgentServiceOfAPackage(t *testing.T) {
	needMachine(t)
	folder, err := agentBinaries()
	if err != nil {
		t.Fatal(err)
	}
	packages, _ := needPackages(t)
	m := agentMachine{bootMachine(t, map[string]string{agentFolder: folder, agentFiles: t.TempDir(), oldPackages: packages})}
	defer m.checkLog(t)
	m.startService(t)
	m.must(t, "dpkg", "--verify", "image-cri-shim")
	before := m.inventory(t)
	noFailure := func(err error) { t.Errorf("call failed: %v", err) }

	process := m.shows(t, "MainPID")
	all, stop := m.startBothLoads(t, noFailure)
	for range 2 {
		m.configurePackage(t, "fallback: never\n", false)
		awaitAnswers(t, all)
	}
	stop()
	m.wantSocketUnit(t, "inactive")
	if now := m.shows(t, "MainPID"); now != process {
		t.Errorf("process %s was replaced by %s", process, now)
	}

	var takeover failureTimes
	all, stop = m.startBothLoads(t, func(err error) {
		_, cause, _ := strings.Cut(err.Error(), "/run/image-cri-shim.sock: connect: ")
		if !strings.HasPrefix(cause, "no such file or directory") && !strings.HasPrefix(cause, "connection refused") {
			t.Errorf("call failed: %v", err)
		}
		takeover.add()
	})
	m.configurePackage(t, "names: ledger\n", true)
	awaitEachKind(t, all)
	stop()
	if lasted := takeover.lasted(); lasted > 2*time.Second {
		t.Errorf("calls failed for %v, want only those of one attempt to connect", lasted)
	}
	t.Logf("%d calls failed at the takeover, within %v", takeover.count.Load(), takeover.lasted())
	m.wantSocketUnit(t, "active")

	all, stop = m.startBothLoads(t, noFailure) // connect again
	m.must(t, "grep", "-q", "nginx:1.25", "/var/lib/image-cri-shim/ledger.json")
	m.configurePackage(t, "", true)
	awaitEachKind(t, all)
	stop()
	if got := m.version(t); got != firstRelease {
		t.Errorf("version %s serves, want that of the package", got)
	}
	m.must(t, "systemctl", "is-active", "image-cri-shim.service")
	for range 2 {
		if output, err := m.run(t, "remove", secondRelease); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		m.must(t, "sh", "-c", "rm -f /var/lib/image-cri-shim/*.json") // of the package's shim
		m.wantUnchanged(t, before)
	}
	m.must(t, "systemctl", "is-active", "image-cri-shim.service")
	if state, _ := m.Run(testContext(t), "systemctl", "is-active", "image-cri-shim.socket"); state != "inactive" {
		t.Errorf("the socket unit is %s, want inactive as before", state)
	}
	m.must(t, "dpkg", "--purge", "image-cri-shim")
}

// configurePackage lets the agent configure the shim of a package. No difference may remain.
func (m agentMachine) configurePackage(t *testing.T, more string, restarts bool) {
	t.Helper()
	m.provide(t, map[string]string{"image-cri-shim.yaml": privateConfiguration() + more, "more": "more"})
	output, err := m.run(t, "install", secondRelease)
	if err != nil || strings.Contains(output, "restarted: true") != restarts {
		t.Fatalf("%q: %v, want a restart: %t\n%s", more, err, restarts, output)
	}
	m.wantDrift(t, secondRelease, "")
}

// wantSocketUnit requires that the socket unit is enabled and in a state, and that the socket is
// at its path.
func (m agentMachine) wantSocketUnit(t *testing.T, state string) {
	t.Helper()
	shown := m.must(t, "systemctl", "show", "--property", "ActiveState,UnitFileState", "image-cri-shim.socket")
	if want := "ActiveState=" + state + "\nUnitFileState=enabled"; shown != want {
		t.Errorf("the socket unit has\n%s\nwant\n%s", shown, want)
	}
	m.must(t, "sh", "-c", "test -S /run/image-cri-shim.sock && test ! -L /run/image-cri-shim.sock")
}

// startBothLoads starts clients that stay connected, as kubelet does, and clients that connect for
// each call, as crictl does. When it returns, the former have an answer to each kind of call. A
// client of the latter kind pauses after a failure, and may fail only once.
func (m agentMachine) startBothLoads(t *testing.T, failed func(error)) (all []*loadClient, stop func()) {
	t.Helper()
	all, stopLoad := m.startLoad(t, failed)
	ctx, cancel := context.WithCancel(context.Background())
	var calling sync.WaitGroup
	for range loadClients {
		calling.Go(func() {
			failures := 0
			for ctx.Err() == nil {
				pause := 10 * time.Millisecond
				if err := callOnce(context.WithoutCancel(ctx), m.Path("/run/image-cri-shim.sock")); err != nil {
					failed(err)
					if failures++; failures > 1 {
						t.Errorf("a client has failed %d times: %v", failures, err)
					}
					pause = time.Second
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		cancel()
		calling.Wait()
		stopLoad()
	})
	t.Cleanup(stop)
	awaitEachKind(t, all)
	return all, stop
}

// callOnce connects to a socket and makes one call. kubelet's library is not used, because it does
// not close a connection after a failure.
func callOnce(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	_, err = runtimeapi.NewRuntimeServiceClient(connection).Version(ctx, &runtimeapi.VersionRequest{})
	return errors.Join(err, connection.Close())
}

// failureTimes has the number of failed calls, and the times of the first and the last one, in
// nanoseconds.
type failureTimes struct{ count, first, last atomic.Int64 }

func (f *failureTimes) add() {
	f.count.Add(1)
	now := time.Now().UnixNano()
	f.first.CompareAndSwap(0, now)
	f.last.Store(now)
}

func (f *failureTimes) lasted() time.Duration { return time.Duration(f.last.Load() - f.first.Load()) }
