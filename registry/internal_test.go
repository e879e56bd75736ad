package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// A client keeps a login for each repository, up to a limit.
func TestLoginsAreBounded(t *testing.T) {
	e, err := newEndpoint(Config{Address: "http://localhost:5000"}, Options{}.withDefaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * repositoryLimit {
		repository := fmt.Sprintf("repository/%d", i)
		e.client.remember(repository, login{authorization: "Basic " + repository})
		if e.client.loginFor(repository) != "Basic "+repository {
			t.Fatal("the latest login was dropped")
		}
		if got := len(e.client.logins); got > repositoryLimit {
			t.Fatalf("%d logins are kept", got)
		}
	}
}

func TestProbePauses(t *testing.T) {
	b := &breaker{notify: func(bool, string) {}}
	opening := func(pauses ...time.Duration) {
		t.Helper()
		if !b.trip(time.Now(), &failure{reason: ReasonConnection, text: "down"}) {
			t.Fatal("the circuit did not open")
		}
		for i, want := range pauses {
			want *= time.Second
			if pause := b.nextDelay(); pause > want || pause < want*4/5 {
				t.Errorf("pause %d is %v, want about %v", i+1, pause, want)
			}
		}
		b.close()
	}
	opening(1, 2, 4, 5, 5)
	// In a long outage the delays are a tenth of it, and at most a minute.
	for _, outage := range []struct{ lasted, want time.Duration }{{50 * time.Second, 5}, {4 * time.Minute, 24}, {time.Hour, 60}} {
		slow := &breaker{notify: func(bool, string) {}}
		slow.trip(time.Now(), &failure{reason: ReasonConnection, text: "down"})
		slow.openedAt = slow.openedAt.Add(-outage.lasted)
		for range 10 {
			slow.nextDelay()
		}
		if pause, want := slow.nextDelay(), outage.want*time.Second; pause > want+time.Second || pause < want*4/5 {
			t.Errorf("pause after %v is %v, want about %v", outage.lasted, pause, want)
		}
	}
	// Answering only probes does not reset the delay.
	opening(2, 4, 5, 5)
	for _, first := range []time.Duration{4, 8, 16, 32, 60, 60} {
		opening(first, 5, 5)
	}
	// A circuit that was closed for a while resets it, even without lookups.
	b.closedAt = b.closedAt.Add(-2 * firstDelayMax)
	opening(1, 2, 4, 5)
	for _, first := range []time.Duration{2, 4, 8, 16, 32, 60} {
		opening(first)
	}
	// Answering lookups resets it, but not with an overload.
	b.record(time.Now(), "app", &failure{reason: ReasonOverloaded})
	opening(60, 5)
	b.record(time.Now(), "app", nil)
	opening(1, 2)
	opening(2)
	b.record(time.Now(), "app", &failure{reason: ReasonAnswer})
	opening(1)
}

func TestStallPauses(t *testing.T) {
	s := &pullBackoff{}
	stalls := func(minutes ...time.Duration) {
		t.Helper()
		for i, want := range minutes {
			begun := time.Now()
			s.recordTimeout(begun)
			s.recordTimeout(begun) // as one of several at once
			if s.delay != want*time.Minute || s.until().IsZero() {
				t.Errorf("stall %d: it comes last for %v (until %v), want %d minutes", i+1, s.delay, s.until(), want)
			}
			s.timedOutAt = s.timedOutAt.Add(-s.delay) // as if they had gone by
			if until := s.until(); !until.IsZero() {
				t.Errorf("stall %d: until %v after the pause", i+1, until)
			}
		}
	}
	stalls(5, 10, 20, 40, 60, 60)
	s.recordSuccess()
	stalls(5, 10)
}

func TestRepositoryPauses(t *testing.T) {
	p := &lookupBackoff{}
	timeout := &failure{reason: ReasonTimeout, text: "no answer"}
	records := func(outcome *failure, want time.Duration) {
		t.Helper()
		started := time.Now()
		p.record(started, outcome)
		p.record(started, outcome) // as one of several at once
		if got := p.until.Sub(p.begunAt); p.allow() == nil && want > 0 || got != want {
			t.Errorf("a pause of %v (%v), want %v", got, p.allow(), want)
		}
		p.until = p.begunAt // as if it had gone by
		if err := p.allow(); err != nil {
			t.Errorf("%v after the pause", err)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		records(timeout, want*time.Second)
	}
	records(&failure{reason: ReasonOverloaded, retryAfter: 5 * time.Minute}, 5*time.Minute)
	records(&failure{reason: ReasonOverloaded, retryAfter: 24 * time.Hour}, time.Hour)
	p = &lookupBackoff{}
	p.record(time.Now(), &failure{reason: ReasonOverloaded})
	p.record(time.Now(), &failure{reason: ReasonOverloaded})
	if err := p.allow(); err != nil {
		t.Errorf("%v after two overloads", err)
	}
	p.record(time.Now(), &failure{reason: ReasonOverloaded})
	if err := p.allow(); err == nil {
		t.Error("no pause after three overloads")
	}
}

// Failures of one repository do not open the circuit of the registry, unless another
// repository also fails and no lookup is answered in between.
func TestJudge(t *testing.T) {
	timeout, many, refused := &failure{reason: ReasonTimeout}, &failure{reason: ReasonOverloaded}, &failure{reason: ReasonRejected}
	type ended struct {
		repository string
		outcome    *failure
		early      bool // the lookup began before all others
		want       assessment
	}
	for name, look := range map[string][]ended{
		"one timeout":                       {{"a", timeout, false, suspect}},
		"timeouts of one":                   {{"a", timeout, false, suspect}, {"a", timeout, false, suspect}},
		"timeouts of two":                   {{"a", timeout, false, suspect}, {"b", timeout, false, down}},
		"timeouts of two, an answer before": {{"c", nil, false, healthy}, {"a", timeout, false, suspect}, {"b", timeout, false, down}},
		"an answer between them":            {{"a", timeout, false, suspect}, {"c", nil, false, healthy}, {"b", timeout, false, suspect}},
		"a refusal between them":            {{"a", timeout, false, suspect}, {"c", refused, false, healthy}, {"b", timeout, false, suspect}},
		"an answer meanwhile":               {{"c", nil, false, healthy}, {"a", timeout, true, healthy}, {"b", timeout, true, healthy}},
		"overloads":                         {{"a", many, false, healthy}, {"a", many, false, healthy}, {"a", many, false, suspect}, {"a", many, false, healthy}},
		"overloads of several":              {{"a", many, false, healthy}, {"b", many, false, healthy}, {"c", many, false, suspect}},
		"an answer between overloads":       {{"a", many, false, healthy}, {"a", many, false, healthy}, {"c", nil, false, healthy}, {"a", many, false, healthy}},
	} {
		b := &breaker{notify: func(bool, string) {}}
		begin := time.Now()
		for i, e := range look {
			started := time.Now()
			if e.early {
				started = begin
			}
			if got := b.record(started, e.repository, e.outcome); got != e.want {
				t.Errorf("%s: lookup %d: %v, want %v", name, i+1, got, e.want)
			}
		}
	}
}

func TestBreakerIgnoresOldFailures(t *testing.T) {
	b := &breaker{notify: func(bool, string) {}}
	down := &failure{reason: ReasonTimeout, text: "down"}
	started := time.Now()
	if !b.trip(started, down) {
		t.Fatal("the circuit did not open")
	}
	if b.trip(started, down) {
		t.Error("an open circuit opened again")
	}
	b.close()
	if b.record(started, "app", down) != healthy || b.trip(started, down) || b.allow() != nil {
		t.Error("a lookup from before the recovery opened the circuit")
	}
	if b.record(time.Now(), "app", down) != suspect || !b.trip(time.Now(), down) || b.allow() == nil {
		t.Error("a lookup from after the recovery did not open the circuit")
	}
}

// No caller waits longer than the time of one lookup, however many lookups wait for a slot.
func TestWaitingIsBounded(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			asked.Add(1)
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	set, err := New(Options{LookupTimeout: 300 * time.Millisecond, Registries: []Config{{Address: server.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	name, err := reference.ParseNormalizedNamed("nginx:1.25")
	if err != nil {
		t.Fatal(err)
	}
	ask := func() Answer {
		for answer := range set.Find(t.Context(), name) {
			return answer
		}
		return Answer{}
	}
	e := set.endpoints[0]
	for range connectionLimit { // as if other lookups were running
		if err := e.slots.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // more than one timeout
		answer := ask()
		if answer.State != Unknown || answer.Cached || answer.Err == nil || answer.Err.Error() != "no answer within 300ms, lookup continues" {
			t.Errorf("%v, cached %v (%v)", answer.State, answer.Cached, answer.Err)
		}
		if answer.Reference == "" || answer.Duration < set.lookupTimeout {
			t.Errorf("%q after %v", answer.Reference, answer.Duration)
		}
	}
	if err := e.breaker.allow(); err != nil {
		t.Errorf("waiting for a slot opened the circuit: %v", err)
	}
	if got := asked.Load(); got != 0 {
		t.Errorf("%d requests without a slot", got)
	}
	for range connectionLimit {
		e.slots.release()
	}
	if answer := ask(); answer.State != Absent {
		t.Errorf("%v (%v), want the lookup to have continued", answer.State, answer.Err)
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("%d requests, want the first lookup's", got)
	}
}

func TestFailureText(t *testing.T) {
	c := &client{credentials: Credentials{Username: "robot", Password: `p"w/d?`}}
	tests := []struct{ text, want string }{
		{"connection refused", "connection refused"},
		{"one\nsecret", "one"},
		{"tab\tand\x1bescape", "tab and escape"},
		{`Get "http://u:x@h/p?token=1": no`, `Get "http://h/p?...": no`},
		{`saw p"w/d?`, "failed; the error is hidden because it contains the password"},
		{`saw "p\"w/d?"`, "failed; the error is hidden because it contains the password"},
		{`saw http://h/p%22w%2Fd%3F`, "failed; the error is hidden because it contains the password"},
		{"saw cm9ib3Q6cCJ3L2Q/", "failed; the error is hidden because it contains the password"},
	}
	for _, test := range tests {
		if got := c.newFailure(ReasonAnswer, test.text, nil).Error(); got != test.want {
			t.Errorf("text of %q: %q, want %q", test.text, got, test.want)
		}
	}
	if got := c.newFailure(ReasonAnswer, strings.Repeat("ä", 300), nil).Error(); len(got) > 200 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestSilenceText(t *testing.T) {
	c := &client{timeout: 3 * time.Second}
	tests := []struct {
		cause  error
		want   string
		reason Reason
	}{
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}, "no answer within 3s", ReasonTimeout},
		{
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Name: "sealos.hub", Err: "i/o timeout", IsTimeout: true}},
			"dial tcp: lookup sealos.hub: i/o timeout", ReasonName,
		},
		{
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
			"certificate verification failed, check ca: x509: certificate signed by unknown authority", ReasonTLS,
		},
		{tls.RecordHeaderError{Msg: "not TLS"}, "server does not speak TLS: write http:// in address", ReasonTLS},
		{errors.New("connection reset by peer"), "connection reset by peer", ReasonConnection},
	}
	for _, test := range tests {
		failure := c.explainNoResponse(test.cause)
		if failure.Error() != test.want || failure.reason != test.reason || !errors.Is(failure, test.cause) {
			t.Errorf("%v: %q because of %q, want %q because of %q", test.cause, failure, failure.reason, test.want, test.reason)
		}
	}
}

// The host of Docker Hub differs from that in image names.
func TestDockerHubIsAskedAtItsIndex(t *testing.T) {
	e, err := newEndpoint(Config{Address: "https://docker.io"}, Options{}.withDefaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.client.transport.host; got != "index.docker.io" {
		t.Errorf("docker.io is asked at %s", got)
	}
}

// containerd sends credentials only to the host of this URL.
func TestServerAddress(t *testing.T) {
	for address, want := range map[string]string{
		"http://sealos.hub:5000":              "http://sealos.hub:5000",
		"https://hub.example.com/mirror/team": "https://hub.example.com",
		"https://Hub.Example.com:443":         "https://hub.example.com:443",
		"http://127.0.0.1:5000":               "http://127.0.0.1:5000",
		"http://[::1]:5000":                   "http://[::1]:5000",
		"https://docker.io":                   "https://registry-1.docker.io",
		"https://index.docker.io":             "https://registry-1.docker.io",
	} {
		e, err := newEndpoint(Config{Address: address, Username: "robot", Password: "canary"}, Options{}.withDefaults(), nil)
		if err != nil {
			t.Errorf("%s: %v", address, err)
		} else if got := e.login.ServerAddress; got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// The state that a set keeps is bounded.
func TestMemoryIsBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	const size = 20
	set, err := New(Options{CacheSize: size, Registries: []Config{{Address: server.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for i := range 5 * size {
		name, err := reference.ParseNormalizedNamed(fmt.Sprintf("app-%d:1", i))
		if err != nil {
			t.Fatal(err)
		}
		for answer := range set.Find(t.Context(), name) {
			if answer.State != Absent {
				t.Fatalf("%v (%v)", answer.State, answer.Err)
			}
			set.RecordPullFailure(answer.Candidate, 0)
		}
		for range set.Find(t.Context(), name) { // cached from now on
		}
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	if known, failed := set.cache.Len(), set.failedPulls.Len(); known != size || failed != size {
		t.Errorf("%d answers and %d failed pulls are stored, want %d of each", known, failed, size)
	}
	if running := len(set.lookups); running != 0 || set.endpoints[0].lookups != 0 {
		t.Errorf("%d lookups are kept, %d counted", running, set.endpoints[0].lookups)
	}
}
