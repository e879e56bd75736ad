package rewrite

import (
	"context"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
)

// eitherVersion calls methods of CRI v1 as v1alpha2 where the runtime does not know v1:
// containerd before 1.6. The messages are the same.
func eitherVersion(invoke intercept.Invoke) intercept.Invoke {
	var older atomic.Bool
	return func(ctx context.Context, method string, request []byte) ([]byte, error) {
		name, versioned := strings.CutPrefix(method, "/"+versions[0]+".")
		if versioned && older.Load() {
			method = "/" + versions[1] + "." + name
		}
		response, err := invoke(ctx, method, request)
		if !versioned || status.Code(err) != codes.Unimplemented {
			return response, err
		}
		// Another runtime may have taken the place of the one that was asked before.
		use := !older.Load()
		other := versions[0]
		if use {
			other = versions[1]
		}
		again, otherErr := invoke(ctx, "/"+other+"."+name, request)
		if status.Code(otherErr) == codes.Unimplemented {
			return response, err
		}
		older.Store(use)
		return again, otherErr
	}
}
