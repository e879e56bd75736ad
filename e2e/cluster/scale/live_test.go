package scale

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image-cri-shim/agent/cluster"
)

const (
	liveSecret = daemonSet + "-live"
	liveKey    = "image-cri-shim.yaml"
)

// TestLive watches the configuration as all agents of a fleet do: with the code of the agent,
// the token of its service account, and a connection for each. Every watcher receives each
// change once. First there are as many as simulated nodes, then WATCHES.
func TestLive(t *testing.T) {
	ctx := testContext(t)
	uninstall(ctx, t)
	most, err := number("WATCHES", 10000)
	if err != nil {
		t.Fatal(err)
	}
	// No node of the fleet gets a pod: the watchers of this process are the agents.
	upgrade(ctx, t, goodValues().with("live", true).with("waves", []string{"none"}))
	account := serviceAccount(ctx, t)
	client, err := shared.FastClient()
	if err != nil {
		t.Fatal(err)
	}
	change := func(text string) {
		patch := fmt.Sprintf(`{"stringData":{%q:%q}}`, liveKey, text)
		if _, err := client.CoreV1().Secrets(namespace).Patch(ctx, liveSecret, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := shared.Usage(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	watchers := &watchers{account: account}
	watchCtx, stop := context.WithCancel(ctx)
	defer func() { stop(); watchers.running.Wait() }()
	for _, count := range []int{min(simulated, most), most} {
		started := time.Now()
		measure(ctx, t, fmt.Sprintf("the start of %d watches", count-len(watchers.received)), func() {
			watchers.start(watchCtx, t, count)
		})
		t.Logf("measured: %d watches have the configuration after %v", count, time.Since(started).Round(100*time.Millisecond))
		now, err := shared.Usage(ctx, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("measured: %d watches use %.0f KiB of the apiserver's memory each, which has %.0f MiB resident", count,
			now.Since(before).Live/float64(count)/(1<<10), now.Resident/(1<<20))
		for number := range 3 {
			text := fmt.Sprintf("address: http://hub\ntimeout: %dms\n", 10*count+number)
			measure(ctx, t, fmt.Sprintf("a change with %d watches", count), func() {
				began := time.Now()
				change(text)
				delays := watchers.await(ctx, t, text, began)
				t.Logf("measured: a change reaches %d watches: median %v, 99 %% %v, last %v", len(delays),
					delays[len(delays)/2].Round(time.Millisecond), delays[len(delays)*99/100].Round(time.Millisecond), delays[len(delays)-1].Round(time.Millisecond))
			})
		}
		idle := measure(ctx, t, fmt.Sprintf("a minute without a change and %d watches", count), func() { time.Sleep(time.Minute) })
		t.Logf("measured: %.3f of a processor without a change", idle.CPU/idle.Elapsed.Seconds())
	}
	watchers.requireNoMore(t)
	stop()
	watchers.running.Wait()
	uninstall(ctx, t)
}

// serviceAccount creates the folder with the token of the agents that kubelet would mount, and
// the environment of a pod.
func serviceAccount(ctx context.Context, t *testing.T) (folder string) {
	t.Helper()
	token, err := shared.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, daemonSet,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	for name, content := range map[string][]byte{"token": []byte(token.Status.Token), "ca.crt": shared.Config.CAData} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.177.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	return folder
}

// watchers are agents that watch the configuration.
type watchers struct {
	account  string
	running  sync.WaitGroup
	received []chan arrival
}

// arrival is a configuration that a watcher has received.
type arrival struct {
	text string
	time time.Time
}

// start adds watchers until there are count, and returns once each has received the present
// configuration.
func (w *watchers) start(ctx context.Context, t *testing.T, count int) {
	t.Helper()
	former := len(w.received)
	for len(w.received) < count {
		client, err := cluster.Connect(w.account)
		if err != nil {
			t.Fatal(err)
		}
		files, err := cluster.WatchFiles(ctx, client, namespace, "Secret", liveSecret)
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan arrival, 16)
		w.received = append(w.received, received)
		w.running.Go(func() {
			for keys := range files {
				received <- arrival{string(keys[liveKey]), time.Now()}
			}
		})
	}
	for _, received := range w.received[former:] {
		select {
		case first := <-received:
			if first.text == "" {
				t.Fatal("a watcher has received no configuration")
			}
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
}

// await returns the sorted delays after which the watchers have received a text.
func (w *watchers) await(ctx context.Context, t *testing.T, text string, began time.Time) (delays []time.Duration) {
	t.Helper()
	for _, received := range w.received {
		select {
		case next := <-received:
			if next.text != text {
				t.Fatalf("a watcher has received %q, want %q", next.text, text)
			}
			delays = append(delays, next.time.Sub(began))
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
	slices.Sort(delays)
	return delays
}

// requireNoMore fails the test if a watcher has received something else.
func (w *watchers) requireNoMore(t *testing.T) {
	t.Helper()
	for _, received := range w.received {
		if len(received) > 0 {
			t.Fatalf("a watcher has received %q again", (<-received).text)
		}
	}
}
