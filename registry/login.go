package registry

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// repositoryLimit bounds the number of logins that a client keeps, one for each repository.
const repositoryLimit = 1000

// login is the authorization for requests in a repository.
type login struct {
	authorization string    // value of the Authorization header
	expires       time.Time // zero if the login does not expire
}

// request makes a request for a repository as container engines do. The first request is
// sent with the login of an earlier request, or without a login. If the registry answers
// 401, request logs in as the challenge asks and sends the request again. If the registry
// refuses a login from before this lookup, request logs in again, at most once a minute. path
// is a path of the registry's API.
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

// isRefusal reports whether a response may mean that the login is no longer valid. Token
// servers and proxies may answer 400 or 403 instead of 401.
func (c *client) isRefusal(response *http.Response) bool {
	switch response.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return c.isOwn(response)
	}
	return false
}

// logIn returns the login that a response with status 401 asks for. It is empty if no
// suitable credentials are configured or the scheme is unknown.
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

// loginFor returns the Authorization header of the last login for a repository. It is
// empty if there is none or if it has expired.
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

// drop removes a login that the registry refused. It removes all other logins too, because
// they may be refused for the same reason. It reports whether the caller may log in again.
// This is also the case if another lookup has already removed the login.
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
