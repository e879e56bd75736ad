package testbed

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// RequestRecorder records the requests to a server byte for byte. Its methods are safe
// for concurrent use.
type RequestRecorder struct {
	mutex    sync.Mutex
	requests [][]byte
}

// Record returns a Fault that records each request before fault answers it.
func (r *RequestRecorder) Record(fault Fault) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		dump, err := httputil.DumpRequest(request, true)
		if err != nil {
			return // the client aborted the request
		}
		r.mutex.Lock()
		r.requests = append(r.requests, dump)
		r.mutex.Unlock()
		fault(response, request, next)
	}
}

// Requests returns the recorded requests, each as it was on the wire.
func (r *RequestRecorder) Requests() [][]byte {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return append([][]byte(nil), r.requests...)
}

// Contains reports whether any request contains a secret, in the forms of [ContainsSecret].
func (r *RequestRecorder) Contains(secret string) bool {
	for _, request := range r.Requests() {
		if ContainsSecret(request, secret) {
			return true
		}
	}
	return false
}

// ContainsSecret reports whether a text contains a secret: verbatim, escaped as in a URL,
// in hexadecimal, or in base64 after other text such as a user name and colon.
func ContainsSecret(text []byte, secret string) bool {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	for before := range 3 { // bytes of a 3-byte group that precede the secret
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
		whole := (before + len(secret)) / 3 * 4 // characters that do not depend on the following text
		forms = append(forms, encoded[(before+2)/3*4:whole])
	}
	for _, form := range forms {
		if bytes.Contains(text, []byte(form)) {
			return true
		}
	}
	return false
}
