package scale

import (
	"context"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// observer counts the nodes with a ready pod of the agent.
type observer struct {
	mutex  sync.Mutex
	ready  map[string]string // pod by node
	fewest int
}

// observe starts an observer, which ends with the test. From now on it records the fewest
// nodes that were ready at the same time.
func observe(ctx context.Context, t *testing.T) *observer {
	t.Helper()
	o := &observer{ready: make(map[string]string)}
	factory := informers.NewSharedInformerFactoryWithOptions(shared.Client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = "app.kubernetes.io/component=agent" }))
	handler, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { o.update(object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { o.update(object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if pod, ok := object.(*corev1.Pod); ok {
				o.set(pod, false)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(func() { cancel(); factory.Shutdown() })
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		t.Fatal(context.Cause(ctx))
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.fewest = len(o.ready)
	return o
}

func (o *observer) update(pod *corev1.Pod) {
	ready := false
	for _, condition := range pod.Status.Conditions {
		ready = ready || condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue
	}
	o.set(pod, ready && pod.DeletionTimestamp == nil)
}

func (o *observer) set(pod *corev1.Pod, ready bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if ready {
		o.ready[pod.Spec.NodeName] = pod.Name
	} else if o.ready[pod.Spec.NodeName] == pod.Name {
		delete(o.ready, pod.Spec.NodeName)
	}
	o.fewest = min(o.fewest, len(o.ready))
}

// requireReady fails the test if more than unavailable of all nodes were not ready at the same
// time since the last call, or since the start.
func (o *observer) requireReady(t *testing.T, unavailable int) {
	t.Helper()
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if lost := nodes() - o.fewest; lost > unavailable {
		t.Errorf("%d nodes were not ready at the same time, want at most %d", lost, unavailable)
	}
	o.fewest = len(o.ready)
}
