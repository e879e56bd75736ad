package registry

import "errors"

// Reason is the kind of failure of a lookup. Its value is used as the label of a metric.
type Reason string

const (
	ReasonNone Reason = ""

	// The registry did not answer.
	ReasonName       Reason = "name"       // host name not resolved
	ReasonConnection Reason = "connection" // connection refused or closed
	ReasonTimeout    Reason = "timeout"
	ReasonTLS        Reason = "tls" // certificate not trusted, or no TLS

	// The registry answered, but not whether it has the image.
	ReasonOverloaded Reason = "overloaded" // 5xx, 429
	ReasonRejected   Reason = "rejected"   // 401, 403
	ReasonAnswer     Reason = "answer"     // not a response of a registry

	// The registry was not asked.
	ReasonCredentials Reason = "credentials" // credentials could not be read
	ReasonCircuit     Reason = "circuit"     // circuit of the registry or the repository is open
	ReasonBusy        Reason = "busy"        // too many lookups are waiting
	ReasonClosed      Reason = "closed"      // set is closed
)

// Reasons returns all reasons except ReasonNone.
func Reasons() []Reason {
	return []Reason{
		ReasonName, ReasonConnection, ReasonTimeout, ReasonTLS, ReasonOverloaded, ReasonRejected, ReasonAnswer,
		ReasonCredentials, ReasonCircuit, ReasonBusy, ReasonClosed,
	}
}

// severity classifies a failed lookup by its meaning for the whole registry.
type severity int

const (
	answered    severity = iota // registry is up
	overloaded                  // registry answered 429 or 5xx
	unreachable                 // registry did not answer
)

func (r Reason) severity() severity {
	switch r {
	case ReasonName, ReasonConnection, ReasonTimeout, ReasonTLS:
		return unreachable
	case ReasonOverloaded:
		return overloaded
	default:
		return answered
	}
}

// reasonOf returns the reason of the error of an [Answer].
func reasonOf(err error) Reason {
	if failure, ok := errors.AsType[*failure](err); ok {
		return failure.reason
	}
	return ReasonNone
}
