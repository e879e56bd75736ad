package testbed

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// BasicLogin requires basic authentication and calls then for authenticated requests.
func BasicLogin(username, password string, then Fault) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if user, secret, _ := request.BasicAuth(); user != username || secret != password {
			challenge(response, `Basic realm="testbed"`)
			return
		}
		then(response, request, next)
	}
}

// TokenLogin requires the bearer token and calls then for authenticated requests. Its
// challenge names realm, the URL of the token server.
func TokenLogin(realm, token string, then Fault) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		if request.Header.Get("Authorization") != "Bearer "+token {
			scope := ""
			for _, part := range []string{"/manifests/", "/blobs/"} {
				if repository, _, found := strings.Cut(strings.TrimPrefix(request.URL.Path, "/v2/"), part); found {
					scope = fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
				}
			}
			challenge(response, fmt.Sprintf(`Bearer realm=%q,service="testbed"%s`, realm, scope))
			return
		}
		then(response, request, next)
	}
}

func challenge(response http.ResponseWriter, how string) {
	response.Header().Set("WWW-Authenticate", how)
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(http.StatusUnauthorized)
	_, _ = fmt.Fprint(response, `{"errors":[{"code":"UNAUTHORIZED"}]}`)
}

// TokenServer issues an access token in two ways: for a user's password in a GET (Docker's
// token authentication), or for an identity token in a POST (its OAuth 2 form). An empty
// password or identity token is never accepted.
func TokenServer(username, password, identity, token string) Fault {
	return func(response http.ResponseWriter, request *http.Request, _ http.Handler) {
		user, secret, _ := request.BasicAuth()
		byPassword := request.Method == http.MethodGet && password != "" && user == username && secret == password
		byIdentity := request.Method == http.MethodPost && identity != "" &&
			request.FormValue("grant_type") == "refresh_token" && request.FormValue("refresh_token") == identity
		if !byPassword && !byIdentity {
			http.Error(response, "invalid credentials", http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(response).Encode(map[string]string{"token": token, "access_token": token})
	}
}
