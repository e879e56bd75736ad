package rewrite

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestCause(t *testing.T) {
	const reference = "127.0.0.1:5000/library/nginx:1.25"
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"no such host", "no such host"},
		// The texts are from containerd 1.6.20.
		{`failed to pull and unpack image "` + reference + `": failed to resolve reference "` + reference + `": failed to do request: Head "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused`,
			`failed to do request: Head "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused`},
		{`failed to pull and unpack image "` + reference + `": failed to copy: httpReadSeeker: failed open: unexpected status code http://127.0.0.1:5000/v2/library/nginx/blobs/sha256:` + strings.Repeat("0", 64) + `: 503 Service Unavailable`,
			`.../library/nginx/blobs/sha256:` + strings.Repeat("0", 64) + `: 503 Service Unavailable`},
		{strings.Repeat("ü", 100), "..." + strings.Repeat("ü", 58)},
	} {
		if got := cause(status.Error(codes.Unknown, test.text), reference); got != test.want {
			t.Errorf("of %q\ngot  %q\nwant %q", test.text, got, test.want)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	var tried attempts
	for i := range 50 {
		tried.addSkipped(Answer{Candidate: Candidate{Registry: fmt.Sprintf("http://hub-%d:5000", i)}, Reason: "could not ask: circuit open since 10:00:00: no answer within 3s"})
	}
	list := tried.String()
	if len(list) > textLimit+100 || !strings.HasPrefix(list, "http://hub-0:5000 (could not ask: circuit open") || !strings.HasSuffix(list, " more") {
		t.Errorf("%d bytes: %s", len(list), list)
	}
}

func TestRefusal(t *testing.T) {
	absent := Answer{Candidate: Candidate{Registry: "http://a"}, Absent: true, Reason: "absent"}
	unknown := Answer{Candidate: Candidate{Registry: "http://b"}, Reason: "could not ask: no answer within 3s"}
	const original = "docker.io/library/nginx:1"
	for _, test := range []struct {
		name    string
		answers []Answer
		failure error
		code    codes.Code
		prefix  string
		suffix  string
	}{
		{"no registry", nil, nil, codes.NotFound, "image-cri-shim: no registry is configured for " + original, "(fallback: never)"},
		{"absent", []Answer{absent}, nil, codes.NotFound, "image-cri-shim: no configured registry has " + original, "tried: http://a (absent)"},
		{"unknown", []Answer{absent, unknown}, nil, codes.Unknown, "RegistryUnavailable: ", "tried: http://a (absent), http://b (could not ask: no answer within 3s)"},
		{"pull failed", []Answer{unknown}, status.Error(codes.ResourceExhausted, "SignatureValidationFailed: no space"), codes.ResourceExhausted,
			"SignatureValidationFailed: no space; image-cri-shim ", "tried: http://b (could not ask: no answer within 3s), http://c (pull failed: SignatureValidationFailed: no space)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tried attempts
			for _, answer := range test.answers {
				tried.addSkipped(answer)
			}
			if test.failure != nil {
				tried.addFailed(Candidate{Registry: "http://c"}, test.failure)
			}
			got := status.Convert(tried.refusal(original))
			if got.Code() != test.code || !strings.HasPrefix(got.Message(), test.prefix) || !strings.HasSuffix(got.Message(), test.suffix) {
				t.Errorf("got %v: %s", got.Code(), got.Message())
			}
		})
	}
}

func TestExplainLeavesOtherErrors(t *testing.T) {
	plain := errors.New("plain")
	var tried attempts
	if got := tried.explain(plain, "tried before"); got != plain {
		t.Errorf("got %v", got)
	}
	runtimes := status.Error(codes.NotFound, "not found")
	if got := tried.explain(runtimes, "tried before"); got != runtimes {
		t.Errorf("without attempts: got %v", got)
	}
}

// The appended text can be separated from the runtime's own text.
func TestExplainKeepsRuntimesError(t *testing.T) {
	var tried attempts
	tried.addSkipped(Answer{Candidate: Candidate{Registry: "http://hub"}, Absent: true, Reason: "absent"})
	runtimes, err := status.New(codes.NotFound, "not found").WithDetails(&errdetails.ErrorInfo{Reason: "why"})
	if err != nil {
		t.Fatal(err)
	}
	explained := tried.explain(runtimes.Err(), "tried before")
	const appended = "; image-cri-shim tried before: http://hub (absent)"
	marked, ok := explained.(interface{ Appended() string })
	if !ok || marked.Appended() != appended {
		t.Errorf("%v lacks the appended text %q", explained, appended)
	}
	if s := status.Convert(explained); s.Code() != codes.NotFound || s.Message() != "not found"+appended || len(s.Details()) != 1 {
		t.Errorf("the status is %v %q %v", s.Code(), s.Message(), s.Details())
	}

	const both = appended + ", and after it: http://hub (absent)"
	again := tried.append(explained, ", and after it")
	if marked, ok := again.(interface{ Appended() string }); !ok || marked.Appended() != both {
		t.Errorf("%v lacks the appended text %q", again, both)
	}
	if s := status.Convert(again); s.Message() != "not found"+both || len(s.Details()) != 1 {
		t.Errorf("the second status is %q %v", s.Message(), s.Details())
	}
}

// The shim's own errors are short even for a long name.
func TestRefusalIsBounded(t *testing.T) {
	var tried attempts
	for i := range 10 {
		tried.addSkipped(Answer{Candidate: Candidate{Registry: fmt.Sprint("http://", i)}, Reason: strings.Repeat("reason ", 100)})
	}
	if got := status.Convert(tried.refusal(strings.Repeat("a.", 5000) + "b/c:d")).Message(); len(got) > 1500 {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}
