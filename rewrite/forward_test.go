package rewrite

import (
	"bytes"
	"context"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/ledger"
	"image-cri-shim/rewrite/naming"
)

// newForwardingNode returns a node with a runtime that keeps names.
func newForwardingNode(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.rewriter.namer = naming.New(naming.Options{Invoke: keepsNames(t, n.runtime.invoke), Ledger: n.ledger})
	n.rewriter.namer.Probe(t.Context())
	return n
}

// forwardStatus returns the decision about an ImageStatus that begins now.
func (n *node) forwardStatus() (intercept.Forwarding, bool) {
	return n.rewriter.Forward()["/runtime.v1.ImageService/ImageStatus"]()
}

// TestForwardedStatus checks which answers to ImageStatus pass, by their first bytes.
func TestForwardedStatus(t *testing.T) {
	n := newForwardingNode(t)
	forwarding, ok := n.forwardStatus()
	if !ok {
		t.Fatal("ImageStatus is not forwarded")
	}
	there, err := proto.Marshal(&runtime.ImageStatusResponse{Image: &runtime.Image{Id: "sha256:1"}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := proto.Marshal(&runtime.ImageStatusResponse{Info: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if !forwarding.Unchanged(there) || !forwarding.Unchanged(there[:1]) {
		t.Error("the answer with an image does not pass")
	}
	if forwarding.Unchanged(nil) || forwarding.Unchanged(info) {
		t.Error("an answer without an image passes")
	}
	if err := n.ledger.Apply(ledger.Change{Hide: []ledger.ImageRef{{Reference: hub + "/library/nginx:1.25", Image: "sha256:1"}}}); err != nil {
		t.Fatal(err)
	}
	if forwarding.Unchanged(there) {
		t.Error("the answer to a call that began before a name was hidden passes")
	}
	if _, ok := n.forwardStatus(); ok {
		t.Error("ImageStatus is forwarded although names are hidden")
	}
}

// TestForwardedMissingStatus checks that the runtime is asked again if it lacks the requested name.
func TestForwardedMissingStatus(t *testing.T) {
	n := newForwardingNode(t)
	forwarding, _ := n.forwardStatus()
	request, err := proto.Marshal(&runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: "docker.io/library/nginx:1.25"}})
	if err != nil {
		t.Fatal(err)
	}
	var asked [][]byte
	forwarding.Restore(t.Context(), request, nil, func(_ context.Context, _ string, encoded []byte) ([]byte, error) {
		asked = append(asked, encoded)
		return nil, nil
	})
	if len(asked) == 0 || !bytes.Equal(asked[0], request) {
		t.Errorf("the runtime was asked %q, want first %q", asked, request)
	}
}
