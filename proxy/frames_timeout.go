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

// parseTimeout parses a grpc-timeout. A malformed one counts as none, as in gRPC servers.
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

// formatTimeout formats a grpc-timeout in the smallest unit that needs at most eight digits,
// rounded up.
func formatTimeout(d time.Duration) string {
	if d <= 0 {
		return "0n"
	}
	for _, u := range timeoutUnits {
		if number := (d-1)/u.unit + 1; number < 100_000_000 {
			return strconv.FormatInt(int64(number), 10) + string(u.letter)
		}
	}
	return "99999999H" // unreachable: more than a time.Duration can hold
}

// deadlineOf returns the deadline that a grpc-timeout sets, or the zero time without one.
func deadlineOf(start time.Time, timeout string) time.Time {
	limit, set := parseTimeout(timeout)
	if !set {
		return time.Time{}
	}
	return start.Add(limit)
}

// withTimeout returns ctx with the grpc-timeout of a request.
func withTimeout(ctx context.Context, fields []hpack.HeaderField) (context.Context, context.CancelFunc) {
	if timeout, ok := parseTimeout(frames.Field(fields, "grpc-timeout")); ok {
		return context.WithTimeout(ctx, timeout)
	}
	return ctx, func() {}
}
