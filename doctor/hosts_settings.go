package doctor

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// hostSettings are the keys of a host or of the server in a hosts.toml.
type hostSettings struct {
	rules  hostsRules
	folder string
	keys   map[string]any
}

// value returns the value of a key, or nil if it is not set.
func (s hostSettings) value(key string) any {
	for name, value := range s.keys {
		if name == key || name == strings.ToUpper(key) || s.rules.containerd2 && strings.EqualFold(name, key) {
			return value
		}
	}
	return nil
}

func (s hostSettings) text(key string) (string, error) {
	switch value := s.value(key).(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	}
	return "", errors.New(key + " is not a string")
}

func (s hostSettings) flag(key string) (on, set bool, err error) {
	switch value := s.value(key).(type) {
	case nil:
		return false, false, nil
	case bool:
		return value, true, nil
	}
	return false, false, errors.New(key + " is neither true nor false")
}

// files returns the paths in a key, which may be a string or a list of strings.
func (s hostSettings) files(key string) (paths []string, err error) {
	value := s.value(key)
	if value == nil {
		return nil, nil
	}
	if text, ok := value.(string); ok {
		return []string{s.absolute(text)}, nil
	}
	texts, ok := texts(value)
	if !ok {
		return nil, errors.New(key + " is neither a file nor a list of files")
	}
	for _, text := range texts {
		paths = append(paths, s.absolute(text))
	}
	return paths, nil
}

// keyPairs returns the files with the client certificates and their keys. The setting is a
// file with a certificate and its key, a list of such files, or a list of pairs.
func (s hostSettings) keyPairs() (pairs [][2]string, err error) {
	bad := errors.New("client is neither a file nor a list of files or pairs")
	switch value := s.value("client").(type) {
	case nil:
	case string:
		pairs = append(pairs, [2]string{s.absolute(value)})
	case []any:
		for _, item := range value {
			files, ok := texts(item)
			if text, single := item.(string); single {
				pairs = append(pairs, [2]string{s.absolute(text)})
			} else if !ok || len(files) != 2 {
				return nil, bad
			} else {
				pairs = append(pairs, [2]string{s.absolute(files[0]), s.absolute(files[1])})
			}
		}
	default:
		return nil, bad
	}
	return pairs, nil
}

func (s hostSettings) absolute(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(s.folder, file)
}

// header returns the headers that containerd adds to its requests.
func (s hostSettings) header() (http.Header, error) {
	value := s.value("header")
	headers, ok := value.(map[string]any)
	if value != nil && !ok {
		return nil, errors.New("header is not a table")
	}
	var header http.Header
	for name, value := range headers {
		list, isList := texts(value)
		if text, isText := value.(string); isText {
			list = []string{text}
		} else if !isList {
			return nil, errors.New("a header is neither a string nor a list of strings")
		}
		if header == nil {
			header = http.Header{}
		}
		for _, text := range list {
			header.Add(name, text)
		}
	}
	return header, nil
}

// resolves reports whether tags may be resolved at the host and pulled from it.
func (s hostSettings) resolves() (bool, error) {
	value := s.value("capabilities")
	list, ok := texts(value)
	if value != nil && !ok {
		return false, errors.New("capabilities is not a list of strings")
	}
	if len(list) == 0 {
		return true, nil
	}
	can := map[string]bool{}
	for _, text := range list {
		capability := strings.ToLower(text)
		switch {
		case capability == "pull" || capability == "resolve" || capability == "push" || capability == "referrers" && s.rules.referrers:
			can[capability] = true
		default:
			return false, errors.New("capabilities contains an unknown capability")
		}
	}
	return can["pull"] && can["resolve"], nil
}

// route returns the route to a server. Its host is empty if server is empty.
func (s hostSettings) route(server string) (r route, err error) {
	if server != "" {
		if r, err = s.locate(server); err != nil {
			return route{}, err
		}
	}
	var problems [5]error
	var verificationSet bool
	r.resolvesTags, problems[0] = s.resolves()
	r.caFiles, problems[1] = s.files("ca")
	r.clientCertificates, problems[2] = s.keyPairs()
	r.skipVerify, verificationSet, problems[3] = s.flag("skip_verify")
	r.header, problems[4] = s.header()
	for _, problem := range problems {
		if problem != nil {
			return route{}, problem
		}
	}
	if timeout, err := s.text("dial_timeout"); s.rules.dialTimeout {
		if err == nil && timeout != "" {
			_, err = time.ParseDuration(timeout)
		}
		if err != nil {
			return route{}, errors.New("dial_timeout is not a duration")
		}
	}
	hasTLS := r.caFiles != nil || r.clientCertificates != nil || verificationSet
	r.httpFallback = s.rules.httpFallback && r.scheme == "http" && hasTLS && !strings.HasSuffix(r.host, ":80")
	return r, nil
}

// locate parses the URL of a server.
func (s hostSettings) locate(server string) (route, error) {
	override, _, err := s.flag("override_path")
	if err != nil {
		return route{}, err
	}
	if !strings.HasPrefix(server, "http") {
		server = "https://" + server
	}
	parsed, err := url.Parse(server)
	if err != nil {
		return route{}, errors.New("a server in the file is not a URL") // not quoted: it may contain a password
	}
	api := parsed.Path
	if api != "" {
		api = path.Clean(api)
	}
	if !override && !strings.HasSuffix(api, "/v2") {
		api += "/v2"
	}
	return route{scheme: parsed.Scheme, host: parsed.Host, path: api}, nil
}

// texts returns the items of a list if all of them are strings.
func texts(value any) ([]string, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	result := []string{}
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil, false
		}
		result = append(result, text)
	}
	return result, true
}
