package fleet

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	client "k8s.io/client-go/kubernetes/typed/core/v1"

	"image-cri-shim/printable"
)

const (
	imagesLimit  = 20 // images of a node that are named
	messageLimit = 300
)

// FailingPull is an image that containers of a node wait for.
type FailingPull struct {
	Image      string `json:"image"`
	Reason     string `json:"reason"` // of kubelet, such as ImagePullBackOff
	Message    string `json:"message,omitempty"`
	Containers int    `json:"containers"`
}

// failingPulls are the reasons with which kubelet lets a container wait for its image.
var failingPulls = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}

func isFailingPull(reason string) bool { return slices.Contains(failingPulls, reason) }

// pulls are the failing pulls of a node.
type pulls struct {
	count  int
	images []FailingPull
}

// add counts a container that waits for its image.
func (p *pulls) add(image string, waiting *corev1.ContainerStateWaiting) {
	p.count++
	image = printable.Line(image, messageLimit)
	for i := range p.images {
		if p.images[i].Image == image {
			p.images[i].Containers++
			return
		}
	}
	if len(p.images) < imagesLimit {
		p.images = append(p.images, FailingPull{image, waiting.Reason, printable.Line(waiting.Message, messageLimit), 1})
	}
}

// addPulls counts the failing pulls of the nodes, in the pods of all namespaces.
func (f *Fleet) addPulls(ctx context.Context, core client.CoreV1Interface, nodes []Node, only []string) error {
	// A pod with a container that was running before is in the phase Running while it waits for
	// the image of another one. So only finished pods can be left out.
	running := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)))
	selectors := []fields.Selector{running}
	if len(only) > 0 {
		selectors = nil
		for _, node := range only {
			selectors = append(selectors, fields.AndSelectors(running, fields.OneTermEqualSelector("spec.nodeName", node)))
		}
	}
	failing := make(map[string]*pulls)
	for _, selector := range selectors {
		found, err := listPulls(ctx, core, selector)
		if apierrors.IsForbidden(err) {
			f.Notes = append(f.Notes, "pulls failing: unknown: listing pods of all namespaces is not permitted")
			return nil
		}
		if err != nil {
			return &listError{"the pods of all namespaces", err}
		}
		for node, p := range found {
			failing[node] = p
		}
	}
	for i := range nodes {
		p := failing[nodes[i].Node]
		if p == nil {
			p = &pulls{}
		}
		nodes[i].PullsFailing, nodes[i].ImagesFailing = &p.count, p.images
	}
	return nil
}

// listPulls returns the failing pulls by node.
func listPulls(ctx context.Context, core client.CoreV1Interface, selector fields.Selector) (failing map[string]*pulls, err error) {
	err = eachPage(ctx, metav1.ListOptions{FieldSelector: selector.String()}, func() { failing = make(map[string]*pulls) },
		func(ctx context.Context, options metav1.ListOptions) (*metav1.ListMeta, error) {
			list, err := core.Pods(metav1.NamespaceAll).List(ctx, options)
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				addPod(failing, &list.Items[i])
			}
			return &list.ListMeta, nil
		})
	return failing, err
}

// addPod adds the containers of a pod that wait for their images.
func addPod(failing map[string]*pulls, pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil || pod.Spec.NodeName == "" {
		return
	}
	status := pod.Status
	for _, container := range slices.Concat(status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses) {
		if waiting := container.State.Waiting; waiting != nil && isFailingPull(waiting.Reason) {
			p := failing[pod.Spec.NodeName]
			if p == nil {
				p = &pulls{}
				failing[pod.Spec.NodeName] = p
			}
			p.add(container.Image, waiting)
		}
	}
}
