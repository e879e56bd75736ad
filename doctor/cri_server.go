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

// criServer is the server on a CRI socket: a runtime, or the shim in front of one.
type criServer struct {
	dialErr  error                // of the connection
	callErr  error                // set if no call was answered
	versions []string             // supported versions of the CRI
	version  *cri.VersionResponse // response in the first of these versions
}

// runtimeSettings is the configuration of a runtime as returned by Status. containerd 1
// returns all of it, CRI-O only the sandbox image, and containerd 2 none.
type runtimeSettings struct {
	SandboxImage string `json:"sandboxImage"`
	Registry     struct {
		ConfigPath string                     `json:"configPath"`
		Mirrors    map[string]json.RawMessage `json:"mirrors"`
		Configs    map[string]json.RawMessage `json:"configs"`
	} `json:"registry"`
	err error // of Status
}

// probe connects to a CRI socket and requests the version of its server.
func probe(ctx context.Context, socket string) (c criServer) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if c.dialErr = checkConnect(ctx, socket); c.dialErr != nil {
		return c
	}
	connection, err := connect(socket)
	if err != nil {
		c.callErr = err
		return c
	}
	defer func() { _ = connection.Close() }()
	var failure error
	for _, version := range []string{"v1", "v1alpha2"} {
		answer := &cri.VersionResponse{} // the messages of both are the same
		switch err := connection.Invoke(ctx, "/runtime."+version+".RuntimeService/Version", &cri.VersionRequest{}, answer); {
		case err == nil:
			c.versions = append(c.versions, version)
			if c.version == nil {
				c.version = answer
			}
		case status.Code(err) != codes.Unimplemented:
			// The server may support this version. Only Unimplemented means that it does not.
			failure = cmp.Or(failure, err)
		}
	}
	if c.version != nil && (failure == nil || c.versions[0] == "v1") {
		return c
	}
	return criServer{callErr: cmp.Or(failure, errors.New("the server is not a container runtime"))}
}

// invoke calls a method of the runtime on a socket that [probe] has found.
func (c criServer) invoke(ctx context.Context, socket, method string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	connection, err := connect(socket)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	return connection.Invoke(ctx, "/runtime."+c.versions[0]+"."+method, request, answer)
}

// readSettings requests the settings. Those that the runtime does not return stay empty.
func (c criServer) readSettings(ctx context.Context, socket string) (s runtimeSettings) {
	if !c.answers() {
		return s
	}
	answer := &cri.StatusResponse{}
	if s.err = c.invoke(ctx, socket, "RuntimeService/Status", &cri.StatusRequest{Verbose: true}, answer); s.err == nil {
		_ = json.Unmarshal([]byte(answer.Info["config"]), &s)
	}
	return s
}

// answers reports whether the server is a runtime, or the shim in front of one.
func (c criServer) answers() bool { return c.version != nil }

// problem returns why the server does not answer.
func (c criServer) problem() error { return cmp.Or(c.dialErr, c.callErr) }

// name returns the name and version that the runtime reports.
func (c criServer) name() string {
	return strings.TrimSpace(c.version.GetRuntimeName() + " " + c.version.GetRuntimeVersion())
}

func (c criServer) isContainerd() bool { return c.version.GetRuntimeName() == "containerd" }

func (c criServer) isCRIO() bool { return strings.HasPrefix(c.version.GetRuntimeName(), "cri-o") }

func checkConnect(ctx context.Context, socket string) error {
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

// dialFinding explains a failed connection to a socket. key is the configuration key that
// contains the path of the socket. hint is the remedy if no server is running.
func dialFinding(t topic, err error, key, hint string) Finding {
	info, statErr := os.Stat(t.subject)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return t.warn(rootHint, "this user has no permission to connect")
	case errors.Is(err, fs.ErrNotExist):
		return t.fail(hint, "the socket does not exist")
	case statErr == nil && info.Mode().Type() != fs.ModeSocket:
		return t.fail("remove the file, or set the key "+key+" to another path", "the path is not a socket")
	case errors.Is(err, syscall.ECONNREFUSED):
		return t.fail(hint, "stale: the socket exists, but no process listens on it")
	default:
		return t.fail(hint, "%v", err)
	}
}
