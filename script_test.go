package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/proxytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"image-cri-shim": main,
		"cri":            criClient,
		"web":            webClient,
		"supervise":      supervise,
		"kubelet":        kubelet,
	})
}

// TestScripts runs the scripts in testdata/script, each in its own folder. Their variables:
//
//	$HUB         address of a registry with library/nginx:1.25 for the user admin with the
//	             password canary:passw0rd
//	$CRI         socket of a runtime that answers Version and has two images; a Status call
//	             that is not verbose does not return
//	$CONTAINERD  socket of such a runtime with containerd's images service
//	$REFUSING    socket of one with an images service that refuses changes
//	$SHIM        unused socket path
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			hub, err := startHub(env)
			if err != nil {
				return err
			}
			cri, err := startRuntime(t, env, "cri", nil)
			if err != nil {
				return err
			}
			containerd, err := startRuntime(t, env, "containerd", map[string]proxytest.Handler{
				"/containerd.services.images.v1.Images/List": answerNothing,
			})
			if err != nil {
				return err
			}
			refusing, err := startRuntime(t, env, "refusing", map[string]proxytest.Handler{
				"/containerd.services.images.v1.Images/List":   answerNothing,
				"/containerd.services.images.v1.Images/Get":    refuse,
				"/containerd.services.images.v1.Images/Create": refuse,
				"/containerd.services.images.v1.Images/Delete": refuse,
			})
			if err != nil {
				return err
			}
			env.Setenv("REFUSING", refusing)
			env.Setenv("HUB", hub)
			env.Setenv("CRI", cri)
			env.Setenv("CONTAINERD", containerd)
			env.Setenv("SHIM", filepath.Join(env.WorkDir, "shim.sock"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"expand":  expand,
			"waitfor": waitFor,
		},
	})
}

// startRuntime starts a runtime on the socket name.sock, with additional methods.
func startRuntime(t *testing.T, env *testscript.Env, name string, more map[string]proxytest.Handler) (socket string, err error) {
	r := proxytest.NewRuntime(filepath.Join(env.WorkDir, name+".sock"))
	r.Handle("/runtime.v1.RuntimeService/Version", answerVersion)
	r.Handle("/runtime.v1.RuntimeService/Status", func(stream grpc.ServerStream) error {
		request, err := proxytest.Receive(stream)
		if err != nil || len(request) > 0 { // verbose
			return errors.Join(err, answerStatus(stream))
		}
		// Hangs as a long pull does. Scripts can wait for the start of the call.
		if err := os.WriteFile(filepath.Join(env.WorkDir, name+".calls"), []byte("Status"), 0o600); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	})
	r.Handle("/runtime.v1.ImageService/ListImages", answerImages)
	r.Handle("/runtime.v1.ImageService/ImageStatus", answerImageStatus)
	for method, handler := range more {
		r.Handle(method, handler)
	}
	if err := r.Start(); err != nil {
		return "", err
	}
	env.Defer(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r.Socket(), nil
}

// refuse answers as a containerd that refuses to change its names.
func refuse(stream grpc.ServerStream) error {
	if _, err := proxytest.Receive(stream); err != nil {
		return err
	}
	return status.Error(codes.PermissionDenied, "names stay as they are")
}

func answerNothing(stream grpc.ServerStream) error {
	if _, err := proxytest.Receive(stream); err != nil {
		return err
	}
	return proxytest.Send(stream, nil)
}

func startHub(env *testscript.Env) (address string, err error) {
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "admin" || password != "canary:passw0rd" {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		content.ServeHTTP(w, r)
	}))
	env.Defer(server.Close)
	image, err := random.Image(100, 1)
	if err != nil {
		return "", err
	}
	reference, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/library/nginx:1.25")
	if err != nil {
		return "", err
	}
	return server.URL, remote.Write(reference, image, remote.WithAuth(&authn.Basic{Username: "admin", Password: "canary:passw0rd"}))
}

func answerVersion(stream grpc.ServerStream) error {
	if _, err := proxytest.Receive(stream); err != nil {
		return err
	}
	response, err := proto.Marshal(&runtime.VersionResponse{Version: "0.1.0", RuntimeName: "proxytest", RuntimeApiVersion: "v1"})
	if err != nil {
		return err
	}
	return proxytest.Send(stream, response)
}

func answerStatus(stream grpc.ServerStream) error {
	response, err := proto.Marshal(&runtime.StatusResponse{Info: map[string]string{"config": `{"sandboxImage":"docker.io/library/nginx:1.25"}`}})
	if err != nil {
		return err
	}
	return proxytest.Send(stream, response)
}

// images are the images of the runtimes.
var images = []*runtime.Image{
	{Id: "sha256:1111111111111111111111111111111111111111111111111111111111111111", RepoTags: []string{"docker.io/library/nginx:1.25"}},
	{Id: "sha256:2222222222222222222222222222222222222222222222222222222222222222", RepoTags: []string{"quay.io/no/such:1"}},
}

func answerImages(stream grpc.ServerStream) error {
	if _, err := proxytest.Receive(stream); err != nil {
		return err
	}
	response, err := proto.Marshal(&runtime.ListImagesResponse{Images: images})
	if err != nil {
		return err
	}
	return proxytest.Send(stream, response)
}

// answerImageStatus finds images by canonical name or ID.
func answerImageStatus(stream grpc.ServerStream) error {
	received, err := proxytest.Receive(stream)
	if err != nil {
		return err
	}
	request, response := &runtime.ImageStatusRequest{}, &runtime.ImageStatusResponse{}
	if err := proto.Unmarshal(received, request); err != nil {
		return err
	}
	for _, image := range images {
		if image.Id == request.Image.Image || slices.Contains(image.RepoTags, request.Image.Image) {
			response.Image = image
		}
	}
	encoded, err := proto.Marshal(response)
	if err != nil {
		return err
	}
	return proxytest.Send(stream, encoded)
}

// expand implements `expand FILE...`, which replaces $NAME in files by the script's variables.
func expand(ts *testscript.TestScript, _ bool, files []string) {
	for _, file := range files {
		content := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(content), 0o600))
		ts.Check(os.Chmod(ts.MkAbs(file), 0o600)) // the file may contain a password
	}
}

// waitFor implements `waitfor FILE TEXT [TIMES]`, which waits until a file contains a text at
// least TIMES times, by default once.
func waitFor(ts *testscript.TestScript, _ bool, arguments []string) {
	times := 1
	if len(arguments) > 2 {
		var err error
		times, err = strconv.Atoi(arguments[2])
		ts.Check(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	for {
		content, err := os.ReadFile(ts.MkAbs(arguments[0]))
		if err == nil && strings.Count(string(content), arguments[1]) >= times {
			return
		}
		if err := pause(ctx); err != nil {
			ts.Fatalf("%s does not contain %q in time: %s", arguments[0], arguments[1], content)
		}
	}
}

// criClient implements `cri SOCKET METHOD`: it calls a method of the RuntimeService and prints
// the runtime's name in the response. `cri SOCKET PullImage` pulls quay.io/no/such:1 for a pod.
func criClient() {
	if err := call(os.Args[1], os.Args[2]); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// pullRequest has secrets in the fields that may hold them.
var pullRequest = &runtime.PullImageRequest{
	Image: &runtime.ImageSpec{Image: "quay.io/no/such:1", Annotations: map[string]string{"canary": "canary"}},
	Auth:  &runtime.AuthConfig{Username: "canary-user", Password: "canary:passw0rd"},
	SandboxConfig: &runtime.PodSandboxConfig{
		Metadata:    &runtime.PodSandboxMetadata{Namespace: "prod", Name: "web-0", Uid: "canary-uid"},
		Annotations: map[string]string{"canary": "canary"},
		Labels:      map[string]string{"canary": "canary"},
	},
}

func call(socket, method string) (err error) {
	connection, err := proxytest.Dial(socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, connection.Close()) }()
	service, request := "RuntimeService", []byte(nil)
	if method == "PullImage" {
		service = "ImageService"
		if request, err = proto.Marshal(pullRequest); err != nil {
			return err
		}
	}
	raw, err := proxytest.Invoke(context.Background(), connection, "/runtime.v1."+service+"/"+method, request)
	if err != nil {
		return err
	}
	response := &runtime.VersionResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(response.RuntimeName + "\n")
	return err
}
