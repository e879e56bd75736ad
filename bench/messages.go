package main

import (
	"crypto/sha256"
	"fmt"
	"strconv"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The node has as many pods as kubelet's default limit, with one container each, and a
// store of images. Half of the images come from the registry.
const (
	pods       = 110
	images     = 200
	served     = images / 2
	events     = 20_000
	namespaces = 7
)

// started is the start time of everything on the node, in Unix nanoseconds.
const started int64 = 1_790_000_000_000_000_000

func hash(what string, i int) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", what, i)))
}

func imageID(i int) string     { return "sha256:" + hash("image", i) }
func imageDigest(i int) string { return "sha256:" + hash("manifest", i) }
func sandboxID(i int) string   { return hash("sandbox", i) }
func containerID(i int) string { return hash("container", i) }

// repository returns the path of an image in its registry, without the host.
func repository(i int) string {
	if i < served {
		return fmt.Sprintf("library/service-%03d", i)
	}
	return fmt.Sprintf("library/base-%03d", i)
}

const tag = "1.25.3"

// userName returns the requested name of an image.
func userName(i int) string { return "docker.io/" + repository(i) + ":" + tag }

// storedHost returns the registry from which the runtime has pulled an image.
func storedHost(i int, registry string) string {
	if i < served {
		return registry
	}
	return "docker.io"
}

// storedName returns the runtime's name of an image.
func storedName(i int, registry string) string {
	return storedHost(i, registry) + "/" + repository(i) + ":" + tag
}

func storedDigest(i int, registry string) string {
	return storedHost(i, registry) + "/" + repository(i) + "@" + imageDigest(i)
}

func image(i int, registry string) *runtimeapi.Image {
	return &runtimeapi.Image{
		Id:          imageID(i),
		RepoTags:    []string{storedName(i, registry)},
		RepoDigests: []string{storedDigest(i, registry)},
		Size:        uint64(40_000_000 + i*1_234_567),
		Uid:         &runtimeapi.Int64Value{Value: 65532},
		Spec:        &runtimeapi.ImageSpec{},
	}
}

func podName(i int) string   { return fmt.Sprintf("service-%03d-7d9c6b8f5d-%s", i, hash("pod", i)[:5]) }
func namespace(i int) string { return fmt.Sprintf("team-%d", i%namespaces) }

func podUID(i int) string {
	h := hash("uid", i)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:32]
}

// podLabels returns the labels that kubelet sets on a pod. The labels and annotations of
// the functions below are kubelet's, too.
func podLabels(i int) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       fmt.Sprintf("service-%03d", i),
		"app.kubernetes.io/managed-by": "Helm",
		"io.kubernetes.pod.name":       podName(i),
		"io.kubernetes.pod.namespace":  namespace(i),
		"io.kubernetes.pod.uid":        podUID(i),
		"pod-template-hash":            "7d9c6b8f5d",
	}
}

func containerLabels(i int) map[string]string {
	return map[string]string{
		"io.kubernetes.container.name": "service",
		"io.kubernetes.pod.name":       podName(i),
		"io.kubernetes.pod.namespace":  namespace(i),
		"io.kubernetes.pod.uid":        podUID(i),
	}
}

func containerAnnotations(i int) map[string]string {
	return map[string]string{
		"io.kubernetes.container.hash":                     hash("spec", i)[:8],
		"io.kubernetes.container.ports":                    `[{"name":"http","containerPort":8080,"protocol":"TCP"},{"name":"metrics","containerPort":9090,"protocol":"TCP"}]`,
		"io.kubernetes.container.restartCount":             strconv.Itoa(i % 3),
		"io.kubernetes.container.terminationMessagePath":   "/dev/termination-log",
		"io.kubernetes.container.terminationMessagePolicy": "File",
		"io.kubernetes.pod.terminationGracePeriod":         "30",
	}
}

func container(i int) *runtimeapi.Container {
	of := i % pods
	return &runtimeapi.Container{
		Id:           containerID(i),
		PodSandboxId: sandboxID(i),
		Metadata:     &runtimeapi.ContainerMetadata{Name: "service", Attempt: uint32(i % 3)},
		Image:        &runtimeapi.ImageSpec{Image: imageID(of), UserSpecifiedImage: userName(of)},
		ImageRef:     imageID(of),
		ImageId:      imageID(of),
		State:        runtimeapi.ContainerState_CONTAINER_RUNNING,
		CreatedAt:    started + int64(i),
		Labels:       containerLabels(i),
		Annotations:  containerAnnotations(i),
	}
}

func containerStatus(i int, registry string) *runtimeapi.ContainerStatus {
	of := i % pods
	mount := func(inside, outside string, readonly bool) *runtimeapi.Mount {
		return &runtimeapi.Mount{ContainerPath: inside, HostPath: "/var/lib/kubelet/pods/" + podUID(i) + outside, Readonly: readonly}
	}
	return &runtimeapi.ContainerStatus{
		Id:          containerID(i),
		Metadata:    &runtimeapi.ContainerMetadata{Name: "service", Attempt: uint32(i % 3)},
		State:       runtimeapi.ContainerState_CONTAINER_RUNNING,
		CreatedAt:   started + int64(i),
		StartedAt:   started + int64(i) + 1,
		Image:       &runtimeapi.ImageSpec{Image: storedName(of, registry), UserSpecifiedImage: userName(of)},
		ImageRef:    storedDigest(of, registry),
		ImageId:     imageID(of),
		Labels:      containerLabels(i),
		Annotations: containerAnnotations(i),
		Mounts: []*runtimeapi.Mount{
			mount("/etc/hosts", "/etc-hosts", false),
			mount("/dev/termination-log", "/containers/service/"+hash("log", i)[:8], false),
			mount("/etc/service", "/volumes/kubernetes.io~configmap/configuration", true),
			mount("/var/run/secrets/kubernetes.io/serviceaccount", "/volumes/kubernetes.io~projected/kube-api-access-"+hash("token", i)[:5], true),
		},
		LogPath: fmt.Sprintf("/var/log/pods/%s_%s_%s/service/%d.log", namespace(i), podName(i), podUID(i), i%3),
		Resources: &runtimeapi.ContainerResources{Linux: &runtimeapi.LinuxContainerResources{
			CpuPeriod: 100_000, CpuQuota: 50_000, CpuShares: 256, MemoryLimitInBytes: 512 << 20, OomScoreAdj: 985,
		}},
	}
}

func sandbox(i int) *runtimeapi.PodSandbox {
	return &runtimeapi.PodSandbox{
		Id:          sandboxID(i),
		Metadata:    &runtimeapi.PodSandboxMetadata{Name: podName(i), Namespace: namespace(i), Uid: podUID(i)},
		State:       runtimeapi.PodSandboxState_SANDBOX_READY,
		CreatedAt:   started + int64(i),
		Labels:      podLabels(i),
		Annotations: map[string]string{"kubernetes.io/config.seen": "2026-09-21T10:13:20.123456789Z", "kubernetes.io/config.source": "api"},
	}
}

func sandboxStatus(i int) *runtimeapi.PodSandboxStatus {
	s := sandbox(i)
	return &runtimeapi.PodSandboxStatus{
		Id: s.Id, Metadata: s.Metadata, State: s.State, CreatedAt: s.CreatedAt, Labels: s.Labels, Annotations: s.Annotations,
		Network: &runtimeapi.PodSandboxNetworkStatus{Ip: fmt.Sprintf("10.244.%d.%d", i/250, i%250+2)},
		Linux: &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{
			Options: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
}

func event(i int, status *runtimeapi.ContainerStatus) *runtimeapi.ContainerEventResponse {
	return &runtimeapi.ContainerEventResponse{
		ContainerId:        containerID(i),
		ContainerEventType: runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT,
		CreatedAt:          started + int64(i),
		PodSandboxStatus:   sandboxStatus(i),
		ContainersStatuses: []*runtimeapi.ContainerStatus{status},
	}
}

// createContainer returns kubelet's request for a container of a pod. It names the image
// by its ID.
func createContainer(i int, registry string) *runtimeapi.CreateContainerRequest {
	status := containerStatus(i, registry)
	var environment []*runtimeapi.KeyValue
	for service := range 12 { // kubelet adds variables for the namespace's services
		name := fmt.Sprintf("SERVICE_%03d", service)
		environment = append(environment,
			&runtimeapi.KeyValue{Key: name + "_SERVICE_HOST", Value: fmt.Appendf(nil, "10.96.0.%d", service)},
			&runtimeapi.KeyValue{Key: name + "_SERVICE_PORT", Value: []byte("8080")},
			&runtimeapi.KeyValue{Key: name + "_PORT", Value: fmt.Appendf(nil, "tcp://10.96.0.%d:8080", service)})
	}
	return &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandboxID(i),
		Config: &runtimeapi.ContainerConfig{
			Metadata:    status.Metadata,
			Image:       &runtimeapi.ImageSpec{Image: imageID(i % pods), UserSpecifiedImage: userName(i % pods)},
			Command:     []string{"/service"},
			Args:        []string{"--listen=:8080", "--metrics=:9090", "--configuration=/etc/service/service.yaml"},
			WorkingDir:  "/",
			Envs:        environment,
			Mounts:      status.Mounts,
			Labels:      status.Labels,
			Annotations: status.Annotations,
			LogPath:     "service/0.log",
			Linux:       &runtimeapi.LinuxContainerConfig{Resources: status.Resources.Linux},
		},
		SandboxConfig: &runtimeapi.PodSandboxConfig{
			Metadata:     sandbox(i).Metadata,
			Hostname:     podName(i),
			LogDirectory: fmt.Sprintf("/var/log/pods/%s_%s_%s", namespace(i), podName(i), podUID(i)),
			DnsConfig:    &runtimeapi.DNSConfig{Servers: []string{"10.96.0.10"}, Searches: []string{namespace(i) + ".svc.cluster.local", "svc.cluster.local", "cluster.local"}, Options: []string{"ndots:5"}},
			Labels:       podLabels(i),
			Annotations:  sandbox(i).Annotations,
		},
	}
}
