package rewrite

import (
	"bytes"
	"context"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestMissingStatusKeepsItsRequest overwrites the request of an ImageStatus once it has
// been looked at, as the proxy does with its read buffer.
func TestMissingStatusKeepsItsRequest(t *testing.T) {
	n := newNode(t)
	n.rewriter.namer = NewNamer(NamerOptions{Invoke: n.runtime.invoke, Ledger: n.ledger})
	n.rewriter.namer.note(nil)
	request, err := proto.Marshal(&runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: "docker.io/library/nginx:1.25"}})
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Clone(request)
	passing, ok := n.rewriter.Pass()["/runtime.v1.ImageService/ImageStatus"](sent)
	if !ok {
		t.Fatal("the call does not pass")
	}
	for i := range sent {
		sent[i] = 'x'
	}
	var asked [][]byte
	passing.Restore(t.Context(), nil, func(_ context.Context, _ string, encoded []byte) ([]byte, error) {
		asked = append(asked, encoded)
		return nil, nil
	})
	if len(asked) == 0 || !bytes.Equal(asked[0], request) {
		t.Errorf("the runtime was asked %q, want first %q", asked, request)
	}
}
