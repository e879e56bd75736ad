package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// peer is who answers on a CRI socket.
type peer struct {
	dial     error                // why nobody accepts a connection
	err      error                // why nobody answers on it
	versions []string             // of the CRI
	version  *cri.VersionResponse // in the first of these
}

// runtimeSettings is what Status tells of a runtime's configuration: containerd 1
// all of it, CRI-O the sandbox image, containerd 2 neither.
type runtimeSettings struct {
	SandboxImage string `json:"sandboxImage"`
	Registry     struct {
		ConfigPath string                     `json:"configPath"`
		Mirrors    map[string]json.RawMessage `json:"mirrors"`
		Configs    map[string]json.RawMessage `json:"configs"`
	} `json:"registry"`
	err error // the runtime's, if it fails to tell them
}

// meet asks who answers on a socket.
func meet(ctx context.Context, socket string) (p peer) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.dial = reach(ctx, socket); p.dial != nil {
		return p
	}
	connection, err := connect(socket)
	if err != nil {
		p.err = err
		return p
	}
	defer func() { _ = connection.Close() }()
	var failure error
	for _, version := range []string{"v1", "v1alpha2"} {
		answer := &cri.VersionResponse{} // the messages of both are the same
		switch err := connection.Invoke(ctx, "/runtime."+version+".RuntimeService/Version", &cri.VersionRequest{}, answer); {
		case err == nil:
			p.versions = append(p.versions, version)
			if p.version == nil {
				p.version = answer
			}
		case status.Code(err) != codes.Unimplemented:
			// It may speak this version. Only Unimplemented says that it does not.
			failure = cmp.Or(failure, err)
		}
	}
	if p.version != nil && (failure == nil || p.versions[0] == "v1") {
		return p
	}
	return peer{err: cmp.Or(failure, errors.New("what answers is no container runtime"))}
}

// ask calls a method of the runtime behind a socket that [meet] has found.
func (p peer) ask(ctx context.Context, socket, method string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection, err := connect(socket)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	return connection.Invoke(ctx, "/runtime."+p.versions[0]+"."+method, request, answer)
}

// read asks for the settings. What the runtime does not tell stays empty.
func (p peer) read(ctx context.Context, socket string) (s runtimeSettings) {
	if !p.answers() {
		return s
	}
	answer := &cri.StatusResponse{}
	if s.err = p.ask(ctx, socket, "RuntimeService/Status", &cri.StatusRequest{Verbose: true}, answer); s.err == nil {
		_ = json.Unmarshal([]byte(answer.Info["config"]), &s)
	}
	return s
}

// answers tells whether it is a runtime, or the shim in front of one.
func (p peer) answers() bool { return p.version != nil }

// name is what the runtime calls itself.
func (p peer) name() string {
	return strings.TrimSpace(p.version.GetRuntimeName() + " " + p.version.GetRuntimeVersion())
}

func (p peer) isContainerd() bool { return p.version.GetRuntimeName() == "containerd" }

func (p peer) isCRIO() bool { return strings.HasPrefix(p.version.GetRuntimeName(), "cri-o") }

func reach(ctx context.Context, socket string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return connection.Close()
}

func connect(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"), grpc.WithContextDialer(func(ctx context.Context, socket string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}))
}

// silent says why nobody accepts a connection on a socket; dead is what to do then.
func silent(t topic, err error, dead string) Finding {
	info, statErr := os.Stat(t.subject)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return t.warn(asRoot, "this user may not connect to it")
	case errors.Is(err, fs.ErrNotExist):
		return t.fail(dead, "there is no such socket")
	case statErr == nil && info.Mode().Type() != fs.ModeSocket:
		return t.fail("remove the file, or set another path", "is not a socket")
	case errors.Is(err, syscall.ECONNREFUSED):
		return t.fail(dead, "stale: the file is there, and nobody answers on it")
	default:
		return t.fail(dead, "%v", err)
	}
}
