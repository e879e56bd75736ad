package registry

import (
	"errors"
	"fmt"
	"net/http"
)

// endpoint is one registry of a [Set].
type endpoint struct {
	location    location
	priority    int
	patterns    patterns
	tags        tags
	template    template
	credentials Credentials
	client      *client
	breaker     *breaker
	slots       slots // shared by the registries on one host
	lookups     int   // that run or wait for a slot; guarded by the mutex of the set
}

// newEndpoint checks a configuration. Its error says what is wrong, but not
// with which registry.
func newEndpoint(config Config, options Options, transport http.RoundTripper) (*endpoint, error) {
	e := &endpoint{priority: config.Priority}
	var err error
	if e.location, err = parseAddress(config.Address); err != nil {
		return nil, err
	}
	if e.patterns, err = parsePatterns(config.Match); err != nil {
		return nil, err
	}
	if e.tags, err = parseTags(config.Tags); err != nil {
		return nil, err
	}
	if e.template, err = parseTemplate(config.Path); err != nil {
		return nil, err
	}
	if config.Username == "" && config.Password != "" {
		return nil, errors.New("there is a password but no user name")
	}
	if config.Username != "" {
		e.credentials = Credentials{Username: config.Username, Password: config.Password, ServerAddress: e.location.serverAddress()}
	}
	if e.client, err = newClient(e.location, e.credentials, options, transport); err != nil {
		return nil, fmt.Errorf("prepare look-ups: %w", err)
	}
	address := e.location.String()
	e.breaker = &breaker{notify: func(open bool, reason string) { options.OnBreaker(address, open, reason) }}
	return e, nil
}
