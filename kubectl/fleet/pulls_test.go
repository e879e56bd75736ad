package fleet

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPulls requires that containers of each kind that wait for an image count, and no others.
func TestPulls(t *testing.T) {
	waits := func(image, reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Image: image, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "m\x1b[1m"}}}
	}
	pod := func(name string, status corev1.PodStatus) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: corev1.PodSpec{NodeName: "a"}, Status: status}
	}
	pods := []corev1.Pod{
		on(recordedPod(t, "ready"), "a", "agent"),
		pod("init", corev1.PodStatus{Phase: corev1.PodPending, InitContainerStatuses: []corev1.ContainerStatus{waits("i:1", "ErrImagePull")}, ContainerStatuses: []corev1.ContainerStatus{waits("c:1", "PodInitializing")}}),
		pod("restarted", corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{waits("i:1", "ImagePullBackOff"), waits("n:1", "ErrImageNeverPull")}}),
		pod("debugged", corev1.PodStatus{Phase: corev1.PodRunning, EphemeralContainerStatuses: []corev1.ContainerStatus{waits("UPPER", "InvalidImageName")}}),
		pod("finished", corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{waits("f:1", "ErrImagePull")}}),
		pod("crashed", corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{waits("r:1", "CrashLoopBackOff")}}),
	}
	deleted := pod("deleted", corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{waits("d:1", "ErrImagePull")}})
	deleted.DeletionTimestamp = new(metav1.Now())
	n := read(t, &apiserver{pods: append(pods, deleted)}, Options{}).Nodes[0]
	if got, want := fmt.Sprint(*n.PullsFailing, n.ImagesFailing), "4 [{i:1 ErrImagePull m [1m 2} {n:1 ErrImageNeverPull m [1m 1} {UPPER InvalidImageName m [1m 1}]"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// TestImagesAreLimited requires that a node names a limited number of images, and counts all.
func TestImagesAreLimited(t *testing.T) {
	var p pulls
	for i := range 100 {
		p.add(fmt.Sprint("image:", i), &corev1.ContainerStateWaiting{Reason: "ErrImagePull"})
	}
	if p.count != 100 || len(p.images) != imagesLimit {
		t.Errorf("counts %d and names %d images, want 100 and %d", p.count, len(p.images), imagesLimit)
	}
}
