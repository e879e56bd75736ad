package registry

import "errors"

// Reason is the kind of trouble that kept a registry from being asked; its text is
// fit for a label of a metric.
type Reason string

const (
	ReasonNone Reason = ""

	// It did not answer.
	ReasonName       Reason = "name"       // its name has no address
	ReasonConnection Reason = "connection" // refused or closed
	ReasonTimeout    Reason = "timeout"
	ReasonTLS        Reason = "tls" // its certificate is not taken, or it does not speak TLS

	// It answered, and did not say whether it has the image.
	ReasonOverloaded Reason = "overloaded" // 5xx, 429
	ReasonRejected   Reason = "rejected"   // 401, 403
	ReasonAnswer     Reason = "answer"     // not as a registry does

	// It was not asked.
	ReasonCredentials Reason = "credentials" // they can't be had
	ReasonCircuit     Reason = "circuit"     // it is known to be down
	ReasonBusy        Reason = "busy"        // too many look-ups wait for it already
	ReasonClosed      Reason = "closed"      // the registries have been closed
)

// Reasons are all of them but none.
func Reasons() []Reason {
	return []Reason{
		ReasonName, ReasonConnection, ReasonTimeout, ReasonTLS, ReasonOverloaded, ReasonRejected, ReasonAnswer,
		ReasonCredentials, ReasonCircuit, ReasonBusy, ReasonClosed,
	}
}

// severity is what a failed look-up says about the registry.
type severity int

const (
	answered    severity = iota // it is up, but does not say whether it has the image
	overloaded                  // it answers that it can't answer
	unreachable                 // it does not answer
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

// reasonOf is that of an [Answer]'s error.
func reasonOf(err error) Reason {
	if failure, ok := errors.AsType[*failure](err); ok {
		return failure.reason
	}
	return ReasonNone
}
