package registry

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// repositoryLimit bounds the repositories of a client whose logins are kept.
const repositoryLimit = 1000

// login is what a registry is sent with requests for a repository.
type login struct {
	authorization string    // value of the header
	expires       time.Time // zero if it does not
}

// request makes a request for a repository as container engines do: without a
// login, or with the one that was used before, and again with the login that the
// answer 401 asks for. A login that was made before the look-up and is refused now is
// renewed, once a minute at most. The path is that of the registry's API.
func (s *session) request(ctx context.Context, method, path, repository string) (*http.Response, error) {
	used := s.loginFor(repository)
	response, err := s.send(ctx, method, path, used)
	if err != nil {
		return nil, err
	}
	if used != "" && used != s.ownLogin && s.isRefusal(response) {
		if !s.drop(repository, used) {
			return response, nil
		}
		used = ""
		if response.StatusCode != http.StatusUnauthorized {
			discard(response)
			if response, err = s.send(ctx, method, path, ""); err != nil {
				return nil, err
			}
		}
	}
	if used != "" || response.StatusCode != http.StatusUnauthorized || !s.isOwn(response) {
		return response, nil
	}
	fresh, err := s.logIn(ctx, response, repository)
	if err == nil && fresh.authorization == "" {
		return response, nil
	}
	discard(response)
	if err != nil {
		return nil, err
	}
	s.ownLogin = fresh.authorization
	s.remember(repository, fresh)
	return s.send(ctx, method, path, fresh.authorization)
}

// isRefusal reports whether an answer may be about a login that does not hold any
// more. Token servers and proxies answer 400 or 403 where others answer 401.
func (c *client) isRefusal(response *http.Response) bool {
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return c.isOwn(response)
	}
	return false
}

// logIn returns the login that a response with the status 401 asks for. It is empty
// if the registry asks for none that there is.
func (c *client) logIn(ctx context.Context, response *http.Response, repository string) (login, error) {
	challenge, err := challengeOf(ctx, c.registry, response)
	if err != nil {
		return login{}, err
	}
	switch strings.ToLower(challenge.Scheme) {
	case "basic":
		if c.credentials.Username == "" {
			return login{}, nil
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(c.credentials.Username + ":" + c.credentials.Password))
		return login{authorization: "Basic " + encoded}, nil
	case "bearer":
		if c.credentials.RegistryToken != "" {
			return login{authorization: "Bearer " + c.credentials.RegistryToken}, nil
		}
		return c.fetchToken(ctx, challenge, repository)
	default:
		return login{}, nil
	}
}

// loginFor returns the header of the login that was used for a repository before.
// It is empty if there was none, or if it has expired.
func (c *client) loginFor(repository string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.logins[repository]
	if ok && !known.expires.IsZero() && !time.Now().Before(known.expires) {
		delete(c.logins, repository)
		return ""
	}
	return known.authorization
}

func (c *client) remember(repository string, fresh login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logins == nil || len(c.logins) >= repositoryLimit {
		c.logins = map[string]login{}
	}
	c.logins[repository] = fresh
}

// drop drops the login that a repository refuses, and all others with it: what made
// the registry refuse one may concern them. It reports whether there may be a new
// one. Another look-up may have dropped it already.
func (c *client) drop(repository, refused string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logins[repository].authorization != refused {
		return true
	}
	if !c.server.allowRenewal() {
		return false
	}
	c.logins = nil
	return true
}
