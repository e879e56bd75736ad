package trace

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// versions are the CRI's packages. The messages of v1alpha2 are a subset of those of v1.
// prefix precedes the short names of a version's methods.
var versions = []struct{ name, prefix string }{{"runtime.v1", ""}, {"runtime.v1alpha2", "v1alpha2."}}

// method describes a method of the CRI.
type method struct {
	name              protoreflect.Name
	request, response protoreflect.MessageType
	streaming         bool // the response is a stream
}

// methods are the CRI's methods by full name, "/runtime.v1.RuntimeService/Version".
var methods = criMethods()

func criMethods() map[string]*method {
	table := make(map[string]*method)
	services := (&runtime.VersionRequest{}).ProtoReflect().Descriptor().ParentFile().Services()
	for i := range services.Len() {
		service := services.Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			known := &method{name: m.Name(), request: messageType(m.Input()), response: messageType(m.Output()), streaming: m.IsStreamingServer()}
			for _, version := range versions {
				table["/"+version.name+"."+string(service.Name())+"/"+string(m.Name())] = known
			}
		}
	}
	return table
}

// messageType returns the registered Go type of a message, or nil if there is none.
func messageType(descriptor protoreflect.MessageDescriptor) protoreflect.MessageType {
	found, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil
	}
	return found
}

// decode decodes a message. It returns nil if encoded is not a valid message of that type.
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

// hasNamesInResponse reports whether the method's response names a pod or container that
// its request does not: a new one, or the subject of a runtime event.
func (m *method) hasNamesInResponse() bool {
	return m.name == "RunPodSandbox" || m.name == "CreateContainer" || m.name == "GetContainerEvents"
}
