package trace

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// versions are the CRI's packages. The messages of v1alpha2 are those of v1, without
// what came later.
var versions = []struct{ name, mark string }{{"runtime.v1", ""}, {"runtime.v1alpha2", "v1alpha2."}}

// method is what is known of a method of the CRI.
type method struct {
	name              protoreflect.Name
	request, response protoreflect.MessageType
	streams           bool // its answer is many messages
}

// methods is by full name, "/runtime.v1.RuntimeService/Version".
var methods = criMethods()

func criMethods() map[string]*method {
	table := make(map[string]*method)
	services := (&runtime.VersionRequest{}).ProtoReflect().Descriptor().ParentFile().Services()
	for i := range services.Len() {
		service := services.Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			known := &method{name: m.Name(), request: messageType(m.Input()), response: messageType(m.Output()), streams: m.IsStreamingServer()}
			for _, version := range versions {
				table["/"+version.name+"."+string(service.Name())+"/"+string(m.Name())] = known
			}
		}
	}
	return table
}

// messageType is the Go type of a message, which is registered with the CRI's file.
func messageType(descriptor protoreflect.MessageDescriptor) protoreflect.MessageType {
	found, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil
	}
	return found
}

// decode returns nil for what is no message of the type.
func decode(kind protoreflect.MessageType, encoded []byte) proto.Message {
	if kind == nil {
		return nil
	}
	decoded := kind.New().Interface()
	if proto.Unmarshal(encoded, decoded) != nil {
		return nil
	}
	return decoded
}

// answersName tells whether the answers of a method have names that are not in its
// request: of what it has made, or of what an event is about.
func (m *method) answersName() bool {
	return m.name == "RunPodSandbox" || m.name == "CreateContainer" || m.name == "GetContainerEvents"
}
