package foreign

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Methods of CRI, with the way in which the shim handles them.
const (
	methodPull      = "/runtime.v1.ImageService/PullImage"            // handled by the shim
	methodStatus    = "/runtime.v1.ImageService/ImageStatus"          // handled for a name, rewritten for an ID
	methodList      = "/runtime.v1.ImageService/ListImages"           // answers rewritten
	methodContainer = "/runtime.v1.RuntimeService/ContainerStatus"    // answers rewritten
	methodEvents    = "/runtime.v1.RuntimeService/GetContainerEvents" // relayed, with messages rewritten
	methodVersion   = "/runtime.v1.RuntimeService/Version"            // forwarded
	methodExec      = "/runtime.v1.RuntimeService/ExecSync"           // forwarded
)

// Images of the private registry. Pulls of the slow image take a second, and pulls of the
// hanging image do not end.
const (
	imageName = "nginx:1.25"
	slowName  = "slow:1"
	hangName  = "hang:1"
	imagePath = "/library/" + imageName
)

var (
	imageID = "sha256:" + strings.Repeat("1234abcd", 8)
	slowID  = "sha256:" + strings.Repeat("5678abcd", 8)
)

// IDs of the runtimes' containers.
const (
	containerSmall  = "container-small"
	containerMedium = "container-medium" // its status has 200 KB
	containerLarge  = "container-large"  // its status has 5 MB
	containerAbsent = "container-absent"
	containerHang   = "container-hang"
)

func marshal(message proto.Message) []byte {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		panic(err) // never: the tests' messages are valid
	}
	return encoded
}

// criRules returns the CRI rules of a runtime. It has the image under its name in registry,
// which is docker.io for a runtime that is called directly.
func criRules(registry string) []rule {
	image := &cri.Image{
		Id: imageID, Size: 1234, RepoTags: []string{registry + imagePath},
		RepoDigests: []string{registry + "/library/nginx@sha256:" + strings.Repeat("9", 64)},
	}
	status := marshal(&cri.ImageStatusResponse{Image: image})
	rules := []rule{
		{Method: methodStatus, Contains: imageID, Answers: [][]byte{status}},
		{Method: methodStatus, Contains: registry + imagePath, Answers: [][]byte{status}},
	}
	if registry == "docker.io" {
		rules = append(rules, rule{Method: methodStatus, Contains: imageName, Answers: [][]byte{status}})
	} else { // the image is absent before the first pull
		rules = append([]rule{{Method: methodStatus, Contains: registry + imagePath, Limit: 1, Answers: [][]byte{{}}}}, rules...)
	}
	rules = append(rules,
		rule{Method: methodStatus, Answers: [][]byte{{}}},
		rule{Method: methodPull, Contains: imageName, Answers: [][]byte{marshal(&cri.PullImageResponse{ImageRef: imageID})}},
		rule{Method: methodPull, Contains: slowName, Delay: 1000, Answers: [][]byte{marshal(&cri.PullImageResponse{ImageRef: slowID})}},
		rule{Method: methodPull, Contains: hangName, Mode: modeHang},
		rule{Method: methodList, Contains: "large", Answers: [][]byte{marshal(listOf(image, 5<<20))}},
		rule{Method: methodList, Answers: [][]byte{marshal(listOf(image, 1000))}},
		rule{Method: methodVersion, Answers: [][]byte{marshal(&cri.VersionResponse{Version: "0.1.0", RuntimeName: "foreign", RuntimeVersion: "1", RuntimeApiVersion: "v1"})}},
		rule{Method: methodExec, Contains: "large", Answers: [][]byte{marshal(&cri.ExecSyncResponse{Stdout: filler(5 << 20), ExitCode: 3})}},
		rule{Method: methodExec, Answers: [][]byte{marshal(&cri.ExecSyncResponse{Stdout: []byte("out"), Stderr: []byte("err")})}},
		rule{Method: methodContainer, Contains: containerAbsent, Code: 5, Message: "container-absent: not found"},
		rule{Method: methodContainer, Contains: containerHang, Mode: modeHang},
	)
	for container, size := range map[string]int{containerSmall: 100, containerMedium: 200 << 10, containerLarge: 5 << 20} {
		answer := marshal(&cri.ContainerStatusResponse{Status: statusOf(image, container, size)})
		rules = append(rules, rule{Method: methodContainer, Contains: container, Answers: [][]byte{answer}})
	}
	for i := range rules {
		rules[i].Unary = true
	}
	return append(rules, rule{Method: methodEvents, Answers: events(image)})
}

// listOf returns a list of the image and others, of at least size bytes.
func listOf(image *cri.Image, size int) *cri.ListImagesResponse {
	response := &cri.ListImagesResponse{Images: []*cri.Image{image}}
	for i := 0; size > 0; i++ {
		other := &cri.Image{Id: fmt.Sprintf("sha256:%064d", i), Size: uint64(i), RepoTags: []string{fmt.Sprintf("quay.io/other/%s:%d", filler(1000), i)}}
		response.Images = append(response.Images, other)
		size -= proto.Size(other)
	}
	return response
}

// statusOf returns the status of a container of the image, with about size bytes.
func statusOf(image *cri.Image, container string, size int) *cri.ContainerStatus {
	return &cri.ContainerStatus{
		Id: container, Image: &cri.ImageSpec{Image: image.RepoTags[0]}, ImageRef: image.RepoDigests[0], ImageId: image.Id,
		Annotations: map[string]string{"filler": string(filler(size))}, // one entry, because maps have no order
	}
}

// events returns the encoded events of 20 containers.
func events(image *cri.Image) [][]byte {
	var encoded [][]byte
	for i := range 20 {
		container := fmt.Sprintf("container-%d", i)
		encoded = append(encoded, marshal(&cri.ContainerEventResponse{
			ContainerId: container, ContainerEventType: cri.ContainerEventType_CONTAINER_STARTED_EVENT,
			ContainersStatuses: []*cri.ContainerStatus{statusOf(image, container, 100*i)},
		}))
	}
	return encoded
}

func pullRequest(name string) []byte {
	return marshal(&cri.PullImageRequest{Image: &cri.ImageSpec{Image: name}})
}

func statusRequest(name string) []byte {
	return marshal(&cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
}

// listRequest returns a request for all images. size selects a rule; real runtimes ignore it.
func listRequest(size string) []byte {
	return marshal(&cri.ListImagesRequest{Filter: &cri.ImageFilter{Image: &cri.ImageSpec{Annotations: map[string]string{"size": size}}}})
}

func containerRequest(container string) []byte {
	return marshal(&cri.ContainerStatusRequest{ContainerId: container})
}

func execRequest(size string) []byte {
	return marshal(&cri.ExecSyncRequest{ContainerId: "any", Cmd: []string{size}})
}
