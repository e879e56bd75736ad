package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
)

type appendedError struct {
	*status.Status
	text string
}

func (e appendedError) Error() string              { return e.Err().Error() }
func (e appendedError) GRPCStatus() *status.Status { return e.Status }
func (e appendedError) Appended() string           { return e.text }

func appendTo(own, text string, details ...protoadapt.MessageV1) appendedError {
	s, err := status.New(codes.NotFound, own+text).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return appendedError{s, text}
}

func TestFitStatus(t *testing.T) {
	detail := &errdetails.ErrorInfo{Reason: strings.Repeat("r", 100)}
	short := "; image-cri-shim tried before: hub (absent)"
	for name, test := range map[string]struct {
		own, text string
		details   []protoadapt.MessageV1
		limit     int
		want      string // "whole", "cut" or "none" of the text
	}{
		"short":                       {"not found", short, nil, 8192, "whole"},
		"long":                        {"not found", strings.Repeat("x", 9000), nil, 8192, "cut"},
		"own leaves some room":        {strings.Repeat("o", 7800), strings.Repeat("x", 900), nil, 8192, "cut"},
		"own leaves no room":          {strings.Repeat("o", 8100), short, nil, 8192, "none"},
		"own too long":                {strings.Repeat("o", 20_000), short, nil, 8192, "none"},
		"non-ASCII":                   {"not found", strings.Repeat("ü", 2000), nil, 8192, "cut"},
		"own non-ASCII":               {strings.Repeat("镜", 880), short + strings.Repeat("x", 300), nil, 8192, "cut"},
		"details repeat the text":     {strings.Repeat("o", 3000), short + strings.Repeat("x", 600), []protoadapt.MessageV1{detail}, 8192, "cut"},
		"details leave the text":      {strings.Repeat("o", 2000), short, []protoadapt.MessageV1{detail}, 8192, "whole"},
		"details leave no room":       {strings.Repeat("o", 3450), short, []protoadapt.MessageV1{detail}, 8192, "none"},
		"a client with a small limit": {"not found", short + strings.Repeat("x", 300), nil, 400, "cut"},
	} {
		t.Run(name, func(t *testing.T) {
			const others = 100
			err := appendTo(test.own, test.text, test.details...)
			got := status.Convert(fitStatus(err, others, test.limit))
			text, ok := strings.CutPrefix(got.Message(), test.own)
			if !ok || got.Code() != codes.NotFound || len(got.Details()) != len(test.details) {
				t.Fatalf("the runtime's own part is changed: %v %d details %.100q", got.Code(), len(got.Details()), got.Message())
			}
			size := others + headerListSize(statusFields(got.Err()))
			switch {
			case test.want == "whole" && text != test.text, test.want == "none" && text != "":
				t.Errorf("%d bytes are left of %d: %.50q", len(text), len(test.text), text)
			case test.want == "cut":
				part, cut := strings.CutSuffix(text, ellipsis)
				if !cut || !strings.HasPrefix(test.text, part) || len(part) < 10 {
					t.Errorf("%d bytes are left of %d: %.50q", len(text), len(test.text), text)
				}
				if size < test.limit-20 { // two more characters, in both fields
					t.Errorf("the list has %d bytes of %d", size, test.limit)
				}
			}
			if size > test.limit && test.want != "none" {
				t.Errorf("the list has %d bytes, more than %d", size, test.limit)
			}
		})
	}
}

// Errors without an appended text stay unchanged.
func TestFitStatusLeavesOthers(t *testing.T) {
	for _, err := range []error{nil, errors.New(strings.Repeat("x", 9000)), status.Error(codes.NotFound, strings.Repeat("x", 9000)), fmt.Errorf("%w", errShuttingDown)} {
		if got := fitStatus(err, 0, 100); got != err {
			t.Errorf("%.50v became %.50v", err, got)
		}
	}
}
