package bed

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Observer watches the nodes and the pods in the namespace default, and records what users
// would notice: a node that is not ready, and a container that restarts or is replaced.
type Observer struct {
	cancel  context.CancelFunc
	factory informers.SharedInformerFactory

	mutex    sync.Mutex
	problems []string
}

// Observe starts an observer, which the caller must stop.
func (c *Cluster) Observe(ctx context.Context) (*Observer, error) {
	o := &Observer{factory: informers.NewSharedInformerFactory(c.Client, 0)}
	ctx, o.cancel = context.WithCancel(ctx)
	nodes, pods := o.factory.Core().V1().Nodes().Informer(), o.factory.Core().V1().Pods().Informer()
	if _, err := nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { o.checkNode(object.(*corev1.Node)) },
		UpdateFunc: func(_, object any) { o.checkNode(object.(*corev1.Node)) },
		DeleteFunc: func(any) { o.record("a node was deleted") },
	}); err != nil {
		return nil, err
	}
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, object any) { o.checkPod(before.(*corev1.Pod), object.(*corev1.Pod)) },
	}); err != nil {
		return nil, err
	}
	o.factory.Start(ctx.Done())
	for kind, synced := range o.factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			o.Stop()
			return nil, fmt.Errorf("watch %s: %w", kind, context.Cause(ctx))
		}
	}
	return o, nil
}

// Stop ends the observer and returns what it has recorded.
func (o *Observer) Stop() []string {
	o.cancel()
	o.factory.Shutdown()
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.problems
}

func (o *Observer) record(format string, arguments ...any) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.problems = append(o.problems, fmt.Sprintf(format, arguments...))
}

func (o *Observer) checkNode(node *corev1.Node) {
	if err := CheckReady(node); err != nil {
		o.record("%s: %v", node.Name, err)
	}
}

// checkPod compares the containers of a pod that was running.
func (o *Observer) checkPod(before, after *corev1.Pod) {
	if after.Namespace != corev1.NamespaceDefault || CheckRunning(before) != nil || after.DeletionTimestamp != nil {
		return
	}
	if err := CheckRunning(after); err != nil {
		o.record("pod %s: %v", after.Name, err)
	}
	for i, container := range after.Status.ContainerStatuses {
		if i < len(before.Status.ContainerStatuses) && before.Status.ContainerStatuses[i].ContainerID != container.ContainerID {
			o.record("pod %s: the container %s was replaced after %d restarts", after.Name, container.Name, container.RestartCount)
		}
	}
}
