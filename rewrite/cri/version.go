package cri

import (
	"context"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
)

// Versions are the protobuf packages of the CRI. containerd serves v1alpha2 up to 1.7, and
// CRI-O up to 1.25. The messages about images are the same on the wire, and v1alpha2 has no
// field that v1 lacks, so the v1 types decode both.
var Versions = []string{"runtime.v1", "runtime.v1alpha2"}

// EitherVersion returns an invoke function for methods of CRI v1. It calls them as v1alpha2
// if the runtime does not serve v1, such as containerd before 1.6.
func EitherVersion(invoke intercept.Invoke) intercept.Invoke {
	var older atomic.Bool
	return func(ctx context.Context, method string, request []byte) ([]byte, error) {
		name, versioned := strings.CutPrefix(method, "/"+Versions[0]+".")
		if versioned && older.Load() {
			method = "/" + Versions[1] + "." + name
		}
		response, err := invoke(ctx, method, request)
		if !versioned || status.Code(err) != codes.Unimplemented {
			return response, err
		}
		// Another runtime may serve the socket now.
		use := !older.Load()
		other := Versions[0]
		if use {
			other = Versions[1]
		}
		again, otherErr := invoke(ctx, "/"+other+"."+name, request)
		if status.Code(otherErr) == codes.Unimplemented {
			return response, err
		}
		older.Store(use)
		return again, otherErr
	}
}
