package rewrite

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

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

// TestAttemptsAreBounded requires a list within the limit that begins with the preferred
// registry, keeps the end of each cause, counts the others, and is valid UTF-8.
func TestAttemptsAreBounded(t *testing.T) {
	for _, test := range []struct {
		name, registry, reason string
		count                  int
	}{
		{"one", "http://hub-%d:5000", "could not ask: connection refused", 1},
		{"many", "http://hub-%d:5000", "could not ask: known to be down since 10:00:00: connection refused", 50},
		{"long causes", "http://hub-%d:5000", "could not ask: " + strings.Repeat("é世", 100) + "connection refused", 9},
		{"long hosts", "http://hub-%d." + strings.Repeat("世", 100), "could not ask: " + strings.Repeat("x", 500) + "connection refused", 3},
		{"no causes", "http://hub-%d:5000", "absent", 50},
		{"long result", "http://hub-%d:5000", strings.Repeat("世", 100), 3},
	} {
		for _, limit := range []int{listLimit, 223, appendedLimit / 2, 100} {
			var tried attempts
			for i := range test.count {
				tried.addSkipped(Answer{Candidate: Candidate{Registry: fmt.Sprintf(test.registry, i)}, Reason: test.reason})
			}
			list := tried.text(limit)
			entries := strings.Count(list, "hub-")
			if len(list) > max(limit, hostLimit+resultLimit+causeMin+10) || !utf8.ValidString(list) || !strings.HasPrefix(list, "http://hub-0") || entries == 0 {
				t.Errorf("%s: %d bytes of %d: %s", test.name, len(list), limit, list)
			}
			if strings.Contains(test.reason, "refused") && strings.Count(list, "connection refused)") != entries {
				t.Errorf("%s: a cause is missing: %s", test.name, list)
			}
			if rest := test.count - entries; rest > 0 && !strings.HasSuffix(list, fmt.Sprintf("), and %d more", rest)) {
				t.Errorf("%s: %d are missing: %s", test.name, rest, list)
			}
		}
	}
}

// TestAppendedTextIsBounded requires that the runtime's text is unchanged and at most 300
// characters follow it, with the preferred registry before and after the original.
func TestAppendedTextIsBounded(t *testing.T) {
	runtimes := status.Error(codes.Unknown, strings.Repeat("世", 1000))
	for _, limit := range []int{appendedLimit, appendedLimit / 2} {
		var tried attempts
		for i := range 5 {
			tried.addFailed(Candidate{Registry: fmt.Sprintf("https://hub-%d.example.com:5000", i)}, status.Error(codes.Unknown, strings.Repeat("é", 500)+"no such host"))
		}
		explained := tried.explain(runtimes, "tried before", limit)
		if limit < appendedLimit {
			explained = tried.append(explained, ", and after it", appendedLimit)
		}
		own, appended, _ := strings.Cut(status.Convert(explained).Message(), "; image-cri-shim tried before: https://hub-0.example.com:5000 (pull failed: ...")
		if own != status.Convert(runtimes).Message() || appended == "" {
			t.Fatalf("the text is %s", status.Convert(explained).Message())
		}
		text := explained.(*explainedError).appended
		if len(text) > appendedLimit || len(text) < appendedLimit-80 || !utf8.ValidString(text) || strings.Count(text, "no such host)") != strings.Count(text, "hub-") {
			t.Errorf("%d bytes are appended: %s", len(text), text)
		}
		if limit < appendedLimit && !strings.Contains(text, ", and after it: https://hub-0") {
			t.Errorf("the later attempts are missing: %s", text)
		}
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
	if got := tried.explain(plain, "tried before", appendedLimit); got != plain {
		t.Errorf("got %v", got)
	}
	runtimes := status.Error(codes.NotFound, "not found")
	if got := tried.explain(runtimes, "tried before", appendedLimit); got != runtimes {
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
	explained := tried.explain(runtimes.Err(), "tried before", appendedLimit)
	const appended = "; image-cri-shim tried before: http://hub (absent)"
	marked, ok := explained.(interface{ Appended() string })
	if !ok || marked.Appended() != appended {
		t.Errorf("%v lacks the appended text %q", explained, appended)
	}
	if s := status.Convert(explained); s.Code() != codes.NotFound || s.Message() != "not found"+appended || len(s.Details()) != 1 {
		t.Errorf("the status is %v %q %v", s.Code(), s.Message(), s.Details())
	}

	const both = appended + ", and after it: http://hub (absent)"
	again := tried.append(explained, ", and after it", appendedLimit)
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
	if got := status.Convert(tried.refusal(strings.Repeat("a.", 5000) + "b/c:d")).Message(); len(got) > 800 {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}

// TestBriefReason requires that the list of registries is only in the reason, not in its brief
// form.
func TestBriefReason(t *testing.T) {
	p := &pull{}
	if got := (Decision{Reason: p.reason("fallback: never")}).BriefReason(); got != "fallback: never" {
		t.Errorf("without attempts: got %q", got)
	}
	p.tried.add("http://hub", "absent", "")
	d := Decision{Reason: p.reason("fallback: never"), Tried: p.tried.text(listLimit)}
	if got := d.BriefReason(); got != "fallback: never" || !strings.HasSuffix(d.Reason, d.Tried) {
		t.Errorf("got %q of %q", got, d.Reason)
	}
}
