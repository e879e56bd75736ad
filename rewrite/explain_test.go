package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/naming"
)

// withVersion returns the [Invoke] of a runtime that answers Version in one version of the CRI.
func withVersion(m *memoryRuntime, version string) intercept.Invoke {
	return func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if !strings.HasPrefix(method, "/"+version+".") {
			return nil, status.Error(codes.Unimplemented, "unknown service")
		}
		if strings.HasSuffix(method, "/Version") {
			return nil, nil
		}
		return m.invoke(ctx, method, request)
	}
}

func TestLocal(t *testing.T) {
	for _, version := range cri.Versions {
		t.Run(version, func(t *testing.T) {
			n := newNode(t)
			n.push(hub+"/library/nginx:1.25", "docker.io/library/redis:7")
			mirrored, own := n.runtime.remote[hub+"/library/nginx:1.25"].id, n.runtime.remote["docker.io/library/redis:7"].id
			n.pull("nginx:1.25", nil)
			n.pull("redis:7", nil)
			invoke := withVersion(n.runtime, version)
			for _, test := range []struct{ image, want string }{
				{"nginx:1.25", "served sealos.hub:5000/library/nginx:1.25 from http://sealos.hub:5000" +
					", ledger " + mirrored + " by sealos.hub:5000/library/nginx:1.25" +
					", nginx:1.25 -, " + mirrored + " " + mirrored + ", sealos.hub:5000/library/nginx:1.25 " + mirrored + " hidden"},
				{"redis:7", "served redis:7 from , redis:7 " + own + ", sealos.hub:5000/library/redis:7 -"},
				{"alpine", "served  from , alpine -, sealos.hub:5000/library/alpine:latest -"},
				{mirrored, "served " + mirrored + " from , " + mirrored + " " + mirrored},
			} {
				local, err := n.rewriter.Local(t.Context(), test.image, invoke)
				if err != nil {
					t.Fatal(err)
				}
				if got := describeLocal(local); got != test.want {
					t.Errorf("%s:\n%s, want\n%s", test.image, got, test.want)
				}
			}
			names, err := n.rewriter.Images(t.Context(), invoke)
			if want := []string{"docker.io/library/nginx:1.25", "docker.io/library/redis:7"}; err != nil || !slices.Equal(names, want) {
				t.Errorf("the node's images: %q, %v, want %q", names, err, want)
			}
		})
	}
}

func describeLocal(local Local) string {
	text := fmt.Sprintf("served %s from %s", local.Served, local.Registry)
	if l := local.Ledger; l != nil {
		text += fmt.Sprintf(", ledger %s by %s", l.Image, l.Stored)
	}
	for _, p := range local.Runtime {
		text += ", " + p.Reference + " "
		if p.Image == "" {
			text += "-"
		}
		text += p.Image
		if p.Hidden {
			text += " hidden"
		}
		if p.Err != nil {
			text += " " + p.Err.Error()
		}
	}
	return text
}

func TestLocalWithoutARuntime(t *testing.T) {
	n := newNode(t)
	away := status.Error(codes.Unavailable, "no runtime")
	invoke := func(context.Context, string, []byte) ([]byte, error) { return nil, away }
	if _, err := n.rewriter.Local(t.Context(), "nginx", invoke); !errors.Is(err, away) {
		t.Errorf("Local: %v, want %v", err, away)
	}
	if _, err := n.rewriter.Images(t.Context(), invoke); !errors.Is(err, away) {
		t.Errorf("Images: %v, want %v", err, away)
	}
}

// An image that the runtime fails to answer for is not absent.
func TestLocalWithoutAnAnswer(t *testing.T) {
	n := newNode(t)
	failure := status.Error(codes.Internal, "boom")
	failing := n.runtime.failing(failure, hub+"/library/nginx:1.25")
	invoke := func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if strings.HasSuffix(method, "/Version") {
			return nil, nil
		}
		return failing(ctx, method, request)
	}
	local, err := n.rewriter.Local(t.Context(), "nginx:1.25", invoke)
	if !errors.Is(err, failure) {
		t.Errorf("got %v, want %v", err, failure)
	}
	if got, want := describeLocal(local), "served  from , nginx:1.25 -, sealos.hub:5000/library/nginx:1.25 - "+failure.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// keepsNames is the runtime of a node with names in containerd. It fails the test if the
// rewriter changes a name.
func keepsNames(t *testing.T, invoke intercept.Invoke) intercept.Invoke {
	return func(ctx context.Context, method string, request []byte) ([]byte, error) {
		service, called, _ := strings.Cut(strings.TrimPrefix(method, "/containerd.services.images.v1."), "/")
		switch {
		case service != "Images":
			return invoke(ctx, method, request)
		case called != "List":
			t.Errorf("%s was called", method)
		}
		return nil, nil
	}
}

// TestLocalOfNamesInTheRuntime uses a runtime that keeps the names. Local must not show a
// registry's reference that does not exist, and must not give a name to an image under an
// existing one.
func TestLocalOfNamesInTheRuntime(t *testing.T) {
	n := newNode(t)
	n.push("docker.io/library/redis:7", hub+"/library/nginx:1.25")
	redis := n.runtime.remote["docker.io/library/redis:7"]
	nginx := n.runtime.remote[hub+"/library/nginx:1.25"]
	n.pull("redis:7", nil)
	n.pull(hub+"/library/nginx:1.25", nil)
	invoke := keepsNames(t, withVersion(n.runtime, "runtime.v1"))
	namer := naming.New(naming.Options{Invoke: invoke, Ledger: n.rewriter.ledger})
	rewriter := New(Options{Lookup: n.rewriter.lookup, Ledger: n.rewriter.ledger, Namer: namer})
	if mode := namer.Probe(t.Context()).Mode; mode != naming.InRuntime || rewriter.namer.Status().Mode != mode {
		t.Fatalf("names are kept in %q, in %q to the rewriter", mode, rewriter.namer.Status().Mode)
	}
	digests := func(repository string, c content) string { return ", " + repository + "@" + c.digest + " " + c.id }
	for _, test := range []struct{ image, want string }{
		{"redis:7", "served redis:7 from , redis:7 " + redis.id + ", docker.io/library/redis:7 " + redis.id + digests("docker.io/library/redis", redis)},
		{redis.id, "served " + redis.id + " from , " + redis.id + " " + redis.id + ", docker.io/library/redis:7 " + redis.id + digests("docker.io/library/redis", redis)},
		{"nginx:1.25", "served " + hub + "/library/nginx:1.25 from http://" + hub + ", nginx:1.25 -, " + hub + "/library/nginx:1.25 " + nginx.id + digests(hub+"/library/nginx", nginx)},
		{"alpine", "served  from , alpine -"},
	} {
		local, err := rewriter.Local(t.Context(), test.image, invoke)
		if err != nil {
			t.Fatal(err)
		}
		if got := describeLocal(local); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.image, got, test.want)
		}
	}
	if names := n.rewriter.ledger.Len(); names > 0 {
		t.Errorf("Local recorded %d names in the ledger", names)
	}
}
