package trace

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"image-cri-shim/proxy/intercept"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// subject names the pod, container and images of a call.
type subject struct {
	pod, container string // "namespace/name", "name"
	images         []string
}

// Bounds of a nameCache. A node has a few hundred pods and containers.
const (
	maxPods       = 4 << 10
	maxContainers = 16 << 10
	loadTimeout   = 2 * time.Second
)

// nameCache maps the IDs of pods and containers to their names, because most calls contain
// only an ID. It is filled only while there are readers. It is safe for concurrent use.
type nameCache struct {
	mutex      sync.Mutex
	pods       map[string]string
	containers map[string]containerInfo
}

type containerInfo struct{ pod, name, image string } // pod is an ID

func newNameCache() *nameCache {
	return &nameCache{pods: make(map[string]string), containers: make(map[string]containerInfo)}
}

// load lists the runtime's pods and containers. It tries each version of the CRI.
func (n *nameCache) load(ctx context.Context, invoke intercept.Invoke) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	var problems []error
	for _, version := range versions {
		pods, containers := &runtime.ListPodSandboxResponse{}, &runtime.ListContainersResponse{}
		err := errors.Join(
			fetch(ctx, invoke, "/"+version.name+".RuntimeService/ListPodSandbox", pods),
			fetch(ctx, invoke, "/"+version.name+".RuntimeService/ListContainers", containers))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, pod := range pods.Items {
			n.addPod(pod.Id, podName(pod.Metadata))
		}
		for _, c := range containers.Containers {
			image := imageName(c.Image)
			if image == c.ImageRef || image == c.ImageId { // an ID, not a name
				image = ""
			}
			n.addContainer(c.Id, containerInfo{pod: c.PodSandboxId, name: c.GetMetadata().GetName(), image: image})
		}
		return nil
	}
	return errors.Join(problems...)
}

func fetch(ctx context.Context, invoke intercept.Invoke, method string, answer proto.Message) error {
	encoded, err := invoke(ctx, method, nil)
	if err != nil {
		return err
	}
	return proto.Unmarshal(encoded, answer)
}

func (n *nameCache) addPod(id, name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if id != "" && name != "" && len(n.pods) < maxPods {
		n.pods[strings.Clone(id)] = name
	}
}

func (n *nameCache) addContainer(id string, name containerInfo) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if id != "" && len(n.containers) < maxContainers {
		n.containers[strings.Clone(id)] = name
	}
}

// update adds or removes the pod or container that a successful call created or removed.
func (n *nameCache) update(request, response proto.Message) {
	switch r := request.(type) {
	case *runtime.RunPodSandboxRequest:
		if made, ok := response.(*runtime.RunPodSandboxResponse); ok {
			n.addPod(made.PodSandboxId, podName(r.GetConfig().GetMetadata()))
		}
	case *runtime.CreateContainerRequest:
		if made, ok := response.(*runtime.CreateContainerResponse); ok {
			n.addPod(r.PodSandboxId, podName(r.GetSandboxConfig().GetMetadata()))
			n.addContainer(made.ContainerId, containerInfo{
				pod: r.PodSandboxId, name: r.GetConfig().GetMetadata().GetName(), image: imageName(r.GetConfig().GetImage()),
			})
		}
	case *runtime.RemovePodSandboxRequest:
		n.mutex.Lock()
		defer n.mutex.Unlock()
		delete(n.pods, r.PodSandboxId)
	case *runtime.RemoveContainerRequest:
		n.mutex.Lock()
		defer n.mutex.Unlock()
		delete(n.containers, r.ContainerId)
	}
}

// pod returns the name of the pod with an ID or unambiguous prefix of it, or id if the pod
// is unknown.
func (n *nameCache) pod(id string) string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if name, ok := findByPrefix(n.pods, id); ok {
		return name
	}
	return id
}

func (n *nameCache) container(id string) (name containerInfo, known bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return findByPrefix(n.containers, id)
}

// findByPrefix returns the value of an ID. id may be an unambiguous prefix, which crictl
// sends.
func findByPrefix[V any](table map[string]V, id string) (found V, ok bool) {
	if found, ok = table[id]; ok || id == "" || len(id) >= 64 {
		return found, ok
	}
	for whole, v := range table {
		if strings.HasPrefix(whole, id) {
			if ok {
				return *new(V), false
			}
			found, ok = v, true
		}
	}
	return found, ok
}

func podName(metadata *runtime.PodSandboxMetadata) string {
	if metadata == nil {
		return ""
	}
	return metadata.Namespace + "/" + metadata.Name
}

// imageName returns the name that the user wrote, if the client sent it.
func imageName(image *runtime.ImageSpec) string {
	if image.GetUserSpecifiedImage() != "" {
		return image.GetUserSpecifiedImage()
	}
	return image.GetImage()
}
