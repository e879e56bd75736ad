package foreign

import (
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// body returns the body of a request with one message.
func body(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// needTool skips a test if install-components has not built a tool.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("tools", "bin", name)
	_, err := os.Stat(path)
	if err != nil {
		err = fmt.Errorf("%s (e2e/install-components)", name)
	}
	return need(t, path, err)
}

// TestH2load sends load with h2load's windows, header tables, streams and connections.
func TestH2load(t *testing.T) {
	needCommand(t, "h2load")
	flags := []string{
		"-n3 -c1 -m1", "-n50 -c1 -m10", "-n50 -c5 -m50",
		"-n10 -c1 -m1 -w8 -W16", "-n10 -c1 -m10 -w8 -W16", "-n10 -c1 -m5 -w14 -W16",
		"-n3 -c1 -m1 --header-table-size=256", "-n3 -c1 -m3 --header-table-size=0", "-n10 -c1 -m3 --encoder-header-table-size=0",
	}
	names := []string{"Version", "ExecSync", "PullImage", "ImageStatus by name", "ImageStatus by ID", "ListImages", "ContainerStatus, 200 KB"}
	calls := slices.DeleteFunc(slices.Concat(plainCalls(), shimCalls()), func(c call) bool { return !slices.Contains(names, c.Name) })
	for _, library := range []string{"grpc-go", "grpc-js"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			routes := make(map[string]*route)
			for _, path := range paths {
				routes[path] = newRoute(t, library, path, script{})
			}
			for _, options := range flags {
				for _, c := range calls {
					want := h2load(t, routes[direct], options, c)
					for _, engine := range engines {
						if got := h2load(t, routes[engine], options, c); got != want {
							t.Errorf("%s, %s, h2load %s:\ngot  %s\nwant %s", engine, c.Name, options, got, want)
						}
					}
				}
			}
		})
	}
}

// h2load makes requests and returns the number that succeeded and the bytes of the answers.
func h2load(t *testing.T, r *route, options string, c call) string {
	t.Helper()
	file := writeFile(t, body(c.Requests[0]))
	arguments := append(strings.Fields(options), "-T5s", "-N5s", "-d"+file, "-Hcontent-type: application/grpc", "-Hte: trailers",
		"--base-uri=unix:"+r.socket, "http://localhost"+c.Method)
	output, _, err := run(testContext(t), "h2load", arguments...)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "requests:") {
			lines = append(lines, line)
		}
		if traffic, ok := strings.CutPrefix(line, "traffic:"); ok {
			parts := strings.Split(traffic, ", ")
			lines = append(lines, parts[len(parts)-1])
		}
	}
	return strings.Join(lines, "; ")
}

// TestCurl compares the answers as curl shows them: all headers, trailers and the body.
func TestCurl(t *testing.T) {
	needCommand(t, "curl")
	calls := slices.DeleteFunc(slices.Concat(plainCalls(), shimCalls()), func(c call) bool {
		// A server that does not read the request resets the stream; curl reports this if it comes early.
		return len(c.Requests) != 1 || c.Repeat > 1 || c.Name == "unary, unknown method"
	})
	for _, library := range runtimes {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			routes := make(map[string]*route)
			for _, path := range paths {
				routes[path] = newRoute(t, library, path, script{})
			}
			for _, c := range calls {
				want := curl(t, routes[direct], c)
				for _, engine := range engines {
					got, want := curl(t, routes[engine], c), want
					if engine == grpcEngine || isTaken(c) {
						got, want = decoded(got), decoded(want)
					}
					if got != want {
						t.Errorf("%s, %s:\ngot  %.600s\nwant %.600s", engine, c.Name, got, want)
					}
				}
			}
		})
	}
}

// isTaken reports whether the shim answers a call itself.
func isTaken(c call) bool {
	return c.Method == methodPull || (c.Method == methodStatus && c.Name != "ImageStatus by ID")
}

// decoded normalizes differences between gRPC libraries: the padding of binary values, the
// escaping of messages, and the suffix of the content type.
func decoded(answer string) string {
	answer = regexp.MustCompile(`(?m)^(\S+-bin: .*?)=+$`).ReplaceAllString(answer, "$1")
	answer = strings.ReplaceAll(answer, "application/grpc+proto\n", "application/grpc\n")
	return regexp.MustCompile(`(?m)^grpc-message: .*$`).ReplaceAllStringFunc(answer, func(message string) string {
		if plain, err := url.PathUnescape(message); err == nil {
			return plain
		}
		return message
	})
}

// ownHeaders are header fields that gRPC libraries add. The grpc engine, and the shim's own
// answers, don't have those of the runtime's library.
var ownHeaders = []string{"date", "accept-encoding", "grpc-accept-encoding", "grpc-encoding"}

// curl makes a call and returns the answer with its fields sorted.
func curl(t *testing.T, r *route, c call) string {
	t.Helper()
	answer := filepath.Join(t.TempDir(), "answer")
	arguments := []string{"--silent", "--show-error", "--max-time", "5", "--http2-prior-knowledge", "--unix-socket", r.socket,
		"--data-binary", "@" + writeFile(t, body(c.Requests[0])), "--header", "content-type: application/grpc", "--header", "te: trailers",
		"--dump-header", "-", "--output", answer}
	for _, field := range c.Metadata {
		if field[1] == "" {
			arguments = append(arguments, "--header", field[0]+";")
		} else {
			arguments = append(arguments, "--header", field[0]+": "+field[1])
		}
	}
	output, errors, err := run(testContext(t), "curl", append(arguments, "http://localhost"+c.Method)...)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for line := range strings.Lines(string(output)) {
		name, _, _ := strings.Cut(line, ":")
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(ownHeaders, name) {
			fields = append(fields, line)
		}
	}
	if slices.Contains(fields, "grpc-status: 0") { // a message is meaningless with this status
		fields = slices.DeleteFunc(fields, func(field string) bool { return strings.HasPrefix(field, "grpc-message:") })
	}
	slices.SortStableFunc(fields, func(a, b string) int {
		name, _, _ := strings.Cut(a, ":")
		other, _, _ := strings.Cut(b, ":")
		return strings.Compare(name, other)
	})
	content, _ := os.ReadFile(answer) // the file does not exist if the answer has no body
	return fmt.Sprintf("%s\n%s %q", strings.Join(fields, "\n"), errors, content)
}

// TestGrpcurl compares the output of grpcurl: the answers in JSON, or the error.
func TestGrpcurl(t *testing.T) {
	grpcurl := needTool(t, "grpcurl")
	descriptors := writeFile(t, descriptorSet(t, (&cri.VersionRequest{}).ProtoReflect().Descriptor().ParentFile()))
	commands := [][]string{
		{"{}", "runtime.v1.RuntimeService/Version"},
		{`{"image":{"image":"nginx:1.25"}}`, "runtime.v1.ImageService/PullImage"},
		{`{"image":{"image":"nginx:1.25"}}`, "runtime.v1.ImageService/ImageStatus"},
		{`{"image":{"image":"` + imageID + `"}}`, "runtime.v1.ImageService/ImageStatus"},
		{"{}", "runtime.v1.ImageService/ListImages"},
		{`{"container_id":"` + containerMedium + `"}`, "runtime.v1.RuntimeService/ContainerStatus"},
		{`{"container_id":"` + containerAbsent + `"}`, "runtime.v1.RuntimeService/ContainerStatus"},
		{"{}", "runtime.v1.RuntimeService/ExecSync"},
		{"{}", "runtime.v1.RuntimeService/GetContainerEvents"},
		{"{}", "runtime.v1.RuntimeService/ListContainers"},
	}
	for _, library := range runtimes {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			routes := make(map[string]*route)
			for _, path := range paths {
				routes[path] = newRoute(t, library, path, script{})
			}
			for _, command := range commands {
				print := func(path string) string {
					output, errors, err := run(testContext(t), grpcurl, "-plaintext", "-unix", "-max-time", "10",
						"-protoset", descriptors, "-d", command[0], routes[path].socket, command[1])
					if err != nil {
						t.Fatal(err)
					}
					return string(output) + string(errors)
				}
				want := print(direct)
				for _, engine := range engines {
					if got := print(engine); got != want {
						t.Errorf("%s, %v:\ngot  %.500s\nwant %.500s", engine, command, got, want)
					}
				}
			}
		})
	}
}

// descriptorSet returns the descriptor of a file and of the files that it imports.
func descriptorSet(t *testing.T, file protoreflect.FileDescriptor) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(file)
	encoded, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}
