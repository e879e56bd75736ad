package redact

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const secret = "hunter2"

func TestMessage(t *testing.T) {
	unknown := protowire.AppendString(protowire.AppendTag(nil, 5000, protowire.BytesType), secret)
	future := &runtime.VersionRequest{Version: "v1"}
	future.ProtoReflect().SetUnknown(unknown)
	for _, test := range []struct {
		message proto.Message
		want    string
	}{
		{&runtime.PullImageRequest{
			Image: &runtime.ImageSpec{Image: "nginx:1.25", Annotations: map[string]string{"a.io/token": secret, "team": "web"}},
			Auth:  &runtime.AuthConfig{Username: secret, Password: secret, Auth: secret, ServerAddress: secret, IdentityToken: secret, RegistryToken: secret},
		}, `{"image":{"image":"nginx:1.25","annotations":{"a.io/token":"********","team":"web"}},"auth":"********"}`},
		{&runtime.CreateContainerRequest{PodSandboxId: "1", Config: &runtime.ContainerConfig{
			Metadata: &runtime.ContainerMetadata{Name: "web", Attempt: 2}, Command: []string{"app", "--password", secret},
			Envs: []*runtime.KeyValue{{Key: "PATH", Value: []byte(secret)}}, Mounts: []*runtime.Mount{{HostPath: "/a", ContainerPath: "/b", Readonly: true}},
			Linux: &runtime.LinuxContainerConfig{Resources: &runtime.LinuxContainerResources{MemoryLimitInBytes: 1 << 60, Unified: map[string]string{"memory.high": "1"}}},
		}}, `{"podSandboxId":"1","config":{"metadata":{"name":"web","attempt":2},"command":["app","--password","********"],` +
			`"envs":[{"key":"PATH","value":"********"}],"mounts":[{"containerPath":"/b","hostPath":"/a","readonly":true}],` +
			`"linux":{"resources":{"memoryLimitInBytes":"1152921504606846976","unified":{"memory.high":"1"}}}}}`},
		{&runtime.ContainerConfig{Command: []string{"app", "--password"}, Args: []string{secret, "--password", secret, "-v"}},
			`{"command":["app","--password"],"args":["********","--password","********","-v"]}`},
		{&runtime.ContainerConfig{Command: []string{"app"}, Args: []string{"-v"}}, `{"command":["app"],"args":["-v"]}`},
		{&runtime.ContainerConfig{Args: []string{"run"}}, `{"args":["run"]}`},
		{&runtime.ExecSyncResponse{Stdout: []byte(secret), Stderr: []byte(secret), ExitCode: 1}, `{"stdout":"********","stderr":"********","exitCode":1}`},
		{&runtime.ExecResponse{Url: "http://127.0.0.1:1/exec/" + secret}, `{"url":"http://127.0.0.1:1/exec/********"}`},
		{&runtime.ContainerStatusResponse{
			Status: &runtime.ContainerStatus{Id: "1", State: runtime.ContainerState_CONTAINER_EXITED, Reason: "Error", Message: "bad password=" + secret},
			Info:   map[string]string{"info": `{"runtimeSpec":{"process":{"env":["A=` + secret + `"]}}}`},
		}, `{"status":{"id":"1","state":"CONTAINER_EXITED","reason":"Error","message":"bad password=********"},"info":{"info":"********"}}`},
		{&runtime.ContainerStatus{State: 77}, `{"state":77}`},
		{&runtime.Metric{Name: "m", Value: &runtime.UInt64Value{Value: 1 << 63}}, `{"name":"m","value":{"value":"9223372036854775808"}}`},
		{future, `{"version":"v1","unknownBytes":11}`},
		{&runtime.ListImagesRequest{}, `{}`},
	} {
		if got := string(Message(test.message)); got != test.want {
			t.Errorf("%T:\n got %s\nwant %s", test.message, got, test.want)
		}
	}
}

// maskedFields are the CRI's string, bytes and map fields with values that are masked. A new
// field of the CRI is masked until a table lists it.
const maskedFields = `
	AuthConfig.auth AuthConfig.identity_token AuthConfig.password AuthConfig.registry_token AuthConfig.server_address AuthConfig.username
	CheckpointPodRequest.options ContainerStatusResponse.info ExecSyncResponse.stderr ExecSyncResponse.stdout ImageStatusResponse.info
	KeyValue.value PodSandboxStatusResponse.info RestorePodRequest.options StatusResponse.info
	WindowsContainerSecurityContext.credential_spec WindowsSandboxSecurityContext.credential_spec`

func TestMaskedFields(t *testing.T) {
	var masked []string
	eachMessage(func(message protoreflect.MessageDescriptor) {
		for i := range message.Fields().Len() {
			if field := message.Fields().Get(i); isMasked(field) {
				masked = append(masked, string(message.Name()+"."+field.Name()))
			}
		}
	})
	slices.Sort(masked)
	if want := strings.Fields(maskedFields); !slices.Equal(masked, want) {
		t.Errorf("masked are\n%s\nwant\n%s", strings.Join(masked, " "), strings.Join(want, " "))
	}
}

// isMasked reports whether a value that does not look secret is masked in the field.
func isMasked(field protoreflect.FieldDescriptor) bool {
	if kind := field.Kind(); kind != protoreflect.StringKind && kind != protoreflect.BytesKind && !field.IsMap() {
		return false
	}
	message := newMessage(field.ContainingMessage())
	switch {
	case field.IsMap():
		message.Mutable(field).Map().Set(protoreflect.ValueOfString("k").MapKey(), protoreflect.ValueOfString("plain"))
	case field.IsList():
		message.Mutable(field).List().Append(protoreflect.ValueOfString("plain"))
	case field.Kind() == protoreflect.BytesKind:
		message.Set(field, protoreflect.ValueOfBytes([]byte("plain")))
	case streamURLFields[fieldName(field)]:
		message.Set(field, protoreflect.ValueOfString("http://plain/a/b"))
	default:
		message.Set(field, protoreflect.ValueOfString("plain"))
	}
	return !strings.Contains(string(Message(message.Interface())), "plain")
}

// eachMessage calls a function with each message of the CRI except map entries.
func eachMessage(visit func(protoreflect.MessageDescriptor)) {
	messages := (&runtime.VersionRequest{}).ProtoReflect().Descriptor().ParentFile().Messages()
	for i := range messages.Len() {
		visit(messages.Get(i))
	}
}

// newMessage returns an empty message of the Go type that the CRI's package registered.
func newMessage(descriptor protoreflect.MessageDescriptor) protoreflect.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		panic(err)
	}
	return found.New()
}

// plant puts a secret into each field that may hold one, at any depth, and into unknown
// fields.
func plant(message protoreflect.Message, secret string) {
	message.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 5000, protowire.BytesType), secret))
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		switch field := fields.Get(i); {
		case isSecretMap(field):
			message.Mutable(field).Map().Set(protoreflect.ValueOfString("example.com/token").MapKey(), protoreflect.ValueOfString(secret))
		case field.IsMap():
		case field.IsList() && field.Message() != nil:
			list := message.Mutable(field).List()
			if list.Len() == 0 {
				list.AppendMutable()
			}
			for j := range list.Len() {
				plant(list.Get(j).Message(), secret)
			}
		case field.Message() != nil:
			plant(message.Mutable(field).Message(), secret)
		case field.Kind() == protoreflect.BytesKind:
			message.Set(field, protoreflect.ValueOfBytes([]byte(secret)))
		case field.Kind() == protoreflect.StringKind && !field.IsList() && slices.Contains(strings.Fields(maskedFields), string(field.Parent().Name()+"."+field.Name())):
			message.Set(field, protoreflect.ValueOfString(secret))
		case streamURLFields[fieldName(field)]:
			message.Set(field, protoreflect.ValueOfString("http://"+secret+":"+secret+"@h/"+secret+"/"+secret+"?"+secret))
		case argsFields[fieldName(field)]:
			for _, word := range []string{"--password", secret, "--api-key=" + secret, "A=" + secret, "https://a:" + secret + "@b/"} {
				message.Mutable(field).List().Append(protoreflect.ValueOfString(word))
			}
		}
	}
}

func isSecretMap(field protoreflect.FieldDescriptor) bool {
	return field.IsMap() && !plainMaps[fieldName(field)]
}

// TestPlanted fills each message of the CRI with secrets, and requires that none is shown.
func TestPlanted(t *testing.T) {
	eachMessage(func(descriptor protoreflect.MessageDescriptor) {
		message := newMessage(descriptor)
		plant(message, secret)
		shown := Message(message.Interface())
		if strings.Contains(string(shown), secret) || !json.Valid(shown) {
			t.Errorf("%s shows %s", descriptor.Name(), shown)
		}
	})
}
