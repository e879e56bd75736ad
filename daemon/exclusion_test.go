package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/ledger"
)

// tenantNode is a runtime with each image of the tenant, under the hub's reference. It
// records the requests that it gets.
type tenantNode struct {
	t        *testing.T
	handlers map[string]func(context.Context, []byte, func(context.Context, string, []byte) ([]byte, error)) ([]byte, error)
	sent     map[string][][]byte // by method
}

// tenantHub is a registry that has each image for the node's login. It counts the requests
// for images of the tenant.
func tenantHub(t *testing.T) (address string, asked *atomic.Int32) {
	asked = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "tenant/") {
			asked.Add(1)
		}
		if _, password, _ := r.BasicAuth(); password != "canary" {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("1", 64))
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", "2")
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), asked
}

func newTenantNode(t *testing.T, file string) *tenantNode {
	settings, err := config.Parse("f", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	registries, err := lookup.Open("f", settings, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := ledger.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first := newSnapshot(settings, registries, rewrite.Options{Ledger: ledger})
	var all currentSnapshot
	all.Store(first)
	t.Cleanup(func() { all.Load().release() })
	n := &tenantNode{t: t, handlers: map[string]func(context.Context, []byte, func(context.Context, string, []byte) ([]byte, error)) ([]byte, error){}}
	for method, handle := range all.interceptors(first).Unary {
		n.handlers[method] = func(ctx context.Context, request []byte, invoke func(context.Context, string, []byte) ([]byte, error)) ([]byte, error) {
			return handle(ctx, request, invoke)
		}
	}
	return n
}

// call makes a call as a client. tenant is the excluded repository.
func (n *tenantNode) call(method string, request proto.Message, tenant string) (encoded []byte) {
	n.t.Helper()
	encoded = encode(n.t, request)
	n.sent = map[string][][]byte{}
	_, err := n.handlers[method](n.t.Context(), encoded, func(_ context.Context, called string, request []byte) ([]byte, error) {
		name := path.Base(called)
		n.sent[name] = append(n.sent[name], request)
		switch name {
		case "PullImage":
			return encode(n.t, &runtime.PullImageResponse{ImageRef: "sha256:" + strings.Repeat("3", 64)}), nil
		case "ImageStatus":
			status := &runtime.ImageStatusRequest{}
			if err := proto.Unmarshal(request, status); err != nil {
				return nil, err
			}
			if !strings.HasPrefix(status.Image.GetImage(), tenant) {
				return nil, nil
			}
			return encode(n.t, &runtime.ImageStatusResponse{Image: &runtime.Image{Id: "sha256:" + strings.Repeat("2", 64), RepoTags: []string{status.Image.Image}}}), nil
		}
		return nil, nil
	})
	if err != nil {
		n.t.Errorf("%s: %v", method, err)
	}
	return encoded
}

// wantForwarded requires that the runtime got the request unchanged, and no other request
// of the method.
func (n *tenantNode) wantForwarded(method, image string, request []byte) {
	n.t.Helper()
	if sent := n.sent[method]; len(sent) != 1 || !bytes.Equal(sent[0], request) {
		n.t.Errorf("%s of %s: the runtime got %q, want the request unchanged", method, image, sent)
	}
}

// TestTenantIsClosed tries to reach the images of a tenant by each name and method. match
// excludes the tenant's repository, so that neither the node's login nor the images on the
// node may be used.
func TestTenantIsClosed(t *testing.T) {
	const digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	hub, asked := tenantHub(t)
	_, port, _ := strings.Cut(hub, ":")
	own := []string{"127.0.0.1:" + port, "127.0.0.1:00" + port, "[::ffff:7f00:1]:" + port, "[0:0:0:0:0:FFFF:7F00:0001]:0" + port}
	foreign := []string{"", "docker.io/", "index.docker.io/", "registry-1.docker.io/", "Docker.IO:0443/", "quay.io/", "Quay.io:443/", "[::1]:5000/", "localhost/"}
	for _, test := range []struct {
		name, file string
		tenant     string   // under the hub
		images     []string // names of the repository; %s is its prefix
		from       []string
	}{
		{"by its target", "match: ['!" + hub + "/tenant']", "/tenant/", []string{"%stenant/app", "%stenant/app:1", "%stenant/app@" + digest, "%stenant/app:1@" + digest}, append(foreign, own...)},
		{"by its target, spelled otherwise", "match: ['![::ffff:7f00:1]:0" + port + "/tenant', '*']", "/tenant/", []string{"%stenant/app:1"}, append(foreign, own...)},
		{"by a prefix and a template", "path: 'x/{path}'\nmatch: ['!" + hub + "/mirror/x/tenant']", "/mirror/x/tenant/", []string{"%stenant/app:1"}, foreign},
		{"by a template with the domain", "path: '{domain}/{path}'\nmatch: ['!" + hub + "/mirror/quay.io/tenant']", "/mirror/quay.io/tenant/", []string{"quay.io/tenant/app:1", "QUAY.io/tenant/app@" + digest}, foreign[:1]},
		{"by a template with the last part", "path: 'tenant/{name}'\nmatch: ['!" + hub + "/mirror/tenant/app']", "/mirror/tenant/app", []string{"%sapp", "%steam/app:1"}, foreign},
		{"by its name", "match: ['!registry.example.com/tenant']", "/tenant/", []string{"registry.example.com/tenant/app:1", "Registry.Example.com/tenant/app:1", "registry.example.com:443/tenant/app", "REGISTRY.example.com:0443/tenant/app:1@" + digest}, foreign[:1]},
	} {
		t.Run(test.name, func(t *testing.T) {
			prefix := ""
			if strings.HasPrefix(test.tenant, "/mirror") {
				prefix = "/mirror"
			}
			n := newTenantNode(t, "address: http://"+hub+prefix+"\nauth: robot:canary\n"+test.file+"\n")
			for _, version := range []string{"runtime.v1", "runtime.v1alpha2"} {
				for _, form := range test.images {
					for _, from := range test.from {
						image := form
						if strings.Contains(form, "%s") && !strings.HasSuffix(from, "/") && from != "" {
							from += "/"
						}
						if strings.Contains(form, "%s") {
							image = fmt.Sprintf(form, from)
						}
						n.try(version, image, hub+test.tenant)
					}
				}
			}
			if asked.Load() > 0 {
				t.Errorf("the registry was asked %d times for the tenant's images", asked.Swap(0))
			}
		})
	}
	t.Run("the others are open", func(t *testing.T) {
		n := newTenantNode(t, "address: http://"+hub+"\nauth: robot:canary\nmatch: ['!"+hub+"/tenant']\n")
		n.call("/runtime.v1.ImageService/PullImage", &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "quay.io/team/app:1"}}, "-")
		pull := &runtime.PullImageRequest{}
		if err := proto.Unmarshal(n.sent["PullImage"][0], pull); err != nil || pull.Image.Image != hub+"/team/app:1" || pull.Auth.GetPassword() != "canary" {
			t.Errorf("the runtime got %v (%v), want the hub's reference with its login", pull, err)
		}
	})
}

// try makes each call that can contain an image name.
func (n *tenantNode) try(version, image, tenant string) {
	n.t.Helper()
	images, sandboxes := "/"+version+".ImageService/", "/"+version+".RuntimeService/"
	spec := &runtime.ImageSpec{Image: image}
	for _, auth := range []*runtime.AuthConfig{nil, {Username: "tenant", Password: "own"}} {
		n.wantForwarded("PullImage", image, n.call(images+"PullImage", &runtime.PullImageRequest{Image: spec, Auth: auth}, tenant))
	}
	n.wantForwarded("ImageStatus", image, n.call(images+"ImageStatus", &runtime.ImageStatusRequest{Image: spec}, tenant))
	n.wantForwarded("RemoveImage", image, n.call(images+"RemoveImage", &runtime.RemoveImageRequest{Image: spec}, tenant))
	list := n.call(images+"ListImages", &runtime.ListImagesRequest{Filter: &runtime.ImageFilter{Image: spec}}, tenant)
	n.wantForwarded("ListImages", image, list)
	if strings.HasPrefix(image, tenant) {
		return // the runtime has the image under this name, so CreateContainer may use it
	}
	n.wantForwarded("CreateContainer", image, n.call(sandboxes+"CreateContainer", &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{
		Image: spec, Mounts: []*runtime.Mount{{Image: spec}},
	}}, tenant))
}
