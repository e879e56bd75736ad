// Package fleet reads the agents of image-cri-shim in a cluster, and concludes the state of each
// node. It lists pods and, for agents that run and are not ready, events. It needs no permission
// for nodes, DaemonSets or Secrets.
//
// A node without a pod of the agent can't be seen: only nodes to which the chart's DaemonSets
// have assigned a pod are part of a [Fleet].
//
// page.go reads lists of any length page by page. pod.go reads a pod of the agent, state.go names
// its state. pulls.go counts pulls that fail, and events.go finds the reasons of running pods.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Fleet is the state of the agents in a cluster.
type Fleet struct {
	Nodes   []Node   `json:"nodes"`
	Summary Summary  `json:"summary"`
	Notes   []string `json:"notes"` // of parts that could not be read
}

// Node is the state of one node of one release of the chart.
type Node struct {
	Node      string `json:"node"` // or a text for a pod without a node
	Namespace string `json:"namespace"`
	Release   string `json:"release"` // of Helm; empty for remove.yaml
	Pod       string `json:"pod"`
	Component string `json:"component"` // agent or remove

	Image         string `json:"image"`
	Version       string `json:"version"`       // tag of the image, or the beginning of its digest
	Configuration string `json:"configuration"` // hash of the configuration, or name of its source

	State      State      `json:"state"`
	Ready      bool       `json:"ready"`
	Reason     string     `json:"reason,omitempty"`
	ReasonTime *time.Time `json:"reasonTime,omitempty"` // of the event or the end of the container
	Restarts   int32      `json:"restarts"`
	Created    time.Time  `json:"created"`

	PullsFailing  *int          `json:"pullsFailing"` // containers of all pods of the node; nil: not permitted
	ImagesFailing []FailingPull `json:"imagesFailing,omitempty"`

	uid        string
	since      time.Time // start of the container
	agentReady bool      // the container is ready; the pod may not be
}

// Options select what to read.
type Options struct {
	Namespace string   // of the agents; empty: all
	Fallback  string   // namespace if the pods of all namespaces may not be listed
	Nodes     []string // only these nodes; empty: all
	NotReady  bool     // only nodes that are not ready
}

// selector selects the pods of the agents and of the DaemonSets that remove the shim, which the
// chart labels, but not those of its hooks.
const selector = "app.kubernetes.io/name=image-cri-shim,app.kubernetes.io/component in (agent,remove)"

// ErrNoAgents is the error of [Read] if there is no pod of an agent.
var ErrNoAgents = errors.New("no pods of the agent found")

// Read reads the state of the agents. The nodes that are not ready come first, then the others,
// each in the order of their names.
func Read(ctx context.Context, core client.CoreV1Interface, options Options) (*Fleet, error) {
	f := &Fleet{Nodes: []Node{}, Notes: []string{}}
	nodes, err := f.readAgents(ctx, core, options)
	if err != nil {
		return nil, err
	}
	for _, name := range options.Nodes {
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Node == name }) {
			return nil, fmt.Errorf("node %s: %w", name, ErrNoAgents)
		}
	}
	if len(nodes) == 0 {
		if len(f.Notes) > 0 {
			return nil, fmt.Errorf("%w; %s", ErrNoAgents, strings.Join(f.Notes, "; "))
		}
		return nil, ErrNoAgents
	}
	if err := f.explainUnready(ctx, core, nodes); err != nil {
		return nil, err
	}
	if err := f.addPulls(ctx, core, nodes, options.Nodes); err != nil {
		return nil, err
	}
	f.Summary = summarize(nodes)
	if options.NotReady {
		nodes = slices.DeleteFunc(nodes, func(n Node) bool { return n.Ready })
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(compareBool(a.Ready, b.Ready), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Release, b.Release))
	})
	f.Nodes = append(f.Nodes, nodes...)
	return f, nil
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// readAgents returns a Node for each node and release. If the pods of all namespaces may not be
// listed, it reads those of the fallback namespace.
func (f *Fleet) readAgents(ctx context.Context, core client.CoreV1Interface, options Options) ([]Node, error) {
	nodes, err := listAgents(ctx, core, options.Namespace, options.Nodes)
	if apierrors.IsForbidden(err) && options.Namespace == metav1.NamespaceAll {
		nodes, err = listAgents(ctx, core, options.Fallback, options.Nodes)
		f.Notes = append(f.Notes, fmt.Sprintf("agents: only those of namespace %s: listing pods of all namespaces is not permitted", options.Fallback))
	}
	return nodes, err
}

func listAgents(ctx context.Context, core client.CoreV1Interface, namespace string, only []string) (nodes []Node, err error) {
	type key struct{ node, namespace, release string }
	var found map[key]candidate
	err = eachPage(ctx, metav1.ListOptions{LabelSelector: selector}, func() { found = make(map[key]candidate) },
		func(ctx context.Context, options metav1.ListOptions) (*metav1.ListMeta, error) {
			list, err := core.Pods(namespace).List(ctx, options)
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				c := candidateOf(&list.Items[i])
				if len(only) > 0 && !slices.Contains(only, c.node.Node) {
					continue
				}
				k := key{c.node.Node, c.node.Namespace, c.node.Release}
				if other, exists := found[k]; !exists || c.replaces(other) {
					found[k] = c
				}
			}
			return &list.ListMeta, nil
		})
	if err != nil {
		return nil, &listError{"the pods of the agents", err}
	}
	for _, c := range found {
		nodes = append(nodes, c.node)
	}
	return nodes, nil
}

// candidate is a pod that may show the state of its node.
type candidate struct {
	node     Node
	ending   bool // the pod is deleted
	finished bool // the pod will not run again
}

// candidateOf returns the candidate of a pod.
func candidateOf(pod *corev1.Pod) candidate {
	return candidate{
		node:     nodeOf(pod),
		ending:   pod.DeletionTimestamp != nil,
		finished: pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded,
	}
}

// replaces reports whether c shows the state of the node, and not other: the newest pod that is
// neither deleted nor finished.
func (c candidate) replaces(other candidate) bool {
	if by := cmp.Or(compareBool(other.ending, c.ending), compareBool(other.finished, c.finished)); by != 0 {
		return by > 0
	}
	return c.node.Created.After(other.node.Created)
}
