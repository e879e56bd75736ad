package trace

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
)

// subject is what a call is about.
type subject struct {
	pod, container string // "namespace/name", "name"
	images         []string
}

// Bounds of what is remembered: a node has a few hundred of each.
const (
	mostPods       = 4 << 10
	mostContainers = 16 << 10
	learnTimeout   = 2 * time.Second
)

// names knows pods and containers by their IDs, while somebody reads: most calls have
// nothing but an ID. It is safe for concurrent use.
type names struct {
	mutex      sync.Mutex
	pods       map[string]string
	containers map[string]containerName
}

type containerName struct{ pod, name, image string } // pod is its ID

func newNames() *names {
	return &names{pods: make(map[string]string), containers: make(map[string]containerName)}
}

// learn asks the runtime for all that is there, in the CRI's version that it has.
func (n *names) learn(ctx context.Context, invoke intercept.Invoke) error {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	var problems []error
	for _, version := range versions {
		pods, containers := &runtime.ListPodSandboxResponse{}, &runtime.ListContainersResponse{}
		err := errors.Join(
			ask(ctx, invoke, "/"+version.name+".RuntimeService/ListPodSandbox", pods),
			ask(ctx, invoke, "/"+version.name+".RuntimeService/ListContainers", containers))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, pod := range pods.Items {
			n.addPod(pod.Id, podName(pod.Metadata))
		}
		for _, c := range containers.Containers {
			image := imageName(c.Image)
			if image == c.ImageRef || image == c.ImageId { // an ID, which tells people nothing
				image = ""
			}
			n.addContainer(c.Id, containerName{pod: c.PodSandboxId, name: c.GetMetadata().GetName(), image: image})
		}
		return nil
	}
	return errors.Join(problems...)
}

func ask(ctx context.Context, invoke intercept.Invoke, method string, answer proto.Message) error {
	encoded, err := invoke(ctx, method, nil)
	if err != nil {
		return err
	}
	return proto.Unmarshal(encoded, answer)
}

func (n *names) addPod(id, name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if id != "" && name != "" && len(n.pods) < mostPods {
		n.pods[strings.Clone(id)] = name
	}
}

func (n *names) addContainer(id string, name containerName) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if id != "" && len(n.containers) < mostContainers {
		n.containers[strings.Clone(id)] = name
	}
}

// update takes in what a call that has succeeded has made or removed.
func (n *names) update(request, response proto.Message) {
	switch r := request.(type) {
	case *runtime.RunPodSandboxRequest:
		if made, ok := response.(*runtime.RunPodSandboxResponse); ok {
			n.addPod(made.PodSandboxId, podName(r.GetConfig().GetMetadata()))
		}
	case *runtime.CreateContainerRequest:
		if made, ok := response.(*runtime.CreateContainerResponse); ok {
			n.addPod(r.PodSandboxId, podName(r.GetSandboxConfig().GetMetadata()))
			n.addContainer(made.ContainerId, containerName{
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

// pod is the name of a pod by its ID or the beginning of it; the ID if it is not known.
func (n *names) pod(id string) string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if name, ok := find(n.pods, id); ok {
		return name
	}
	return id
}

func (n *names) container(id string) (name containerName, known bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return find(n.containers, id)
}

// find takes the beginning of an ID, as crictl sends it, where only one begins so.
func find[V any](table map[string]V, id string) (found V, ok bool) {
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

// imageName is what the user has written, where the client says so.
func imageName(image *runtime.ImageSpec) string {
	if image.GetUserSpecifiedImage() != "" {
		return image.GetUserSpecifiedImage()
	}
	return image.GetImage()
}
