package proxy

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"

	"image-cri-shim/proxy/frames"
)

// timeoutUnits are the units of grpc-timeout, the smallest first.
var timeoutUnits = []struct {
	letter byte
	unit   time.Duration
}{{'n', time.Nanosecond}, {'u', time.Microsecond}, {'m', time.Millisecond}, {'S', time.Second}, {'M', time.Minute}, {'H', time.Hour}}

const timeoutDigits = 8

// parseTimeout parses grpc-timeout. A malformed one counts as none, as for gRPC's servers.
func parseTimeout(text string) (time.Duration, bool) {
	if len(text) < 2 || len(text) > timeoutDigits+1 {
		return 0, false
	}
	number, err := strconv.ParseUint(text[:len(text)-1], 10, 64)
	if err != nil {
		return 0, false
	}
	for _, u := range timeoutUnits {
		if u.letter == text[len(text)-1] {
			if number > uint64((1<<63-1)/u.unit) {
				return 1<<63 - 1, true
			}
			return time.Duration(number) * u.unit, true
		}
	}
	return 0, false
}

// formatTimeout formats a grpc-timeout, rounded up to the smallest unit that the digits suffice for.
func formatTimeout(d time.Duration) string {
	if d <= 0 {
		return "0n"
	}
	for _, u := range timeoutUnits {
		if number := (d-1)/u.unit + 1; number < 100_000_000 {
			return strconv.FormatInt(int64(number), 10) + string(u.letter)
		}
	}
	return "99999999H" // never: it is more than a duration holds
}

// deadlineOf returns the deadline of a call by its grpc-timeout; the zero time if there is none.
func deadlineOf(start time.Time, timeout string) time.Time {
	limit, set := parseTimeout(timeout)
	if !set {
		return time.Time{}
	}
	return start.Add(limit)
}

// withTimeout returns ctx with the timeout of a request.
func withTimeout(ctx context.Context, fields []hpack.HeaderField) (context.Context, context.CancelFunc) {
	if timeout, ok := parseTimeout(frames.Field(fields, "grpc-timeout")); ok {
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}
