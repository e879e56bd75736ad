package keychain

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"go.yaml.in/yaml/v3"
)

var errLoginForm = errors.New("is neither Docker's config.json or .dockercfg nor the manifest of a Secret with one of them")

// parseLogins parses the content of a file: Docker's config.json, .dockercfg, or manifests
// of Secrets with one of them. The errors contain nothing of the content.
func parseLogins(data []byte) (*logins, error) {
	l := &logins{auths: map[string]authn.AuthConfig{}, helpers: map[string]helperEntry{}, writtenKeys: map[string]string{}}
	if json.Valid(data) {
		return l, l.add(data)
	}
	documents, err := fromYAML(data)
	if err != nil || len(documents) == 0 {
		return nil, errLoginForm
	}
	for _, document := range documents {
		if err := l.add(document); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// fromYAML converts the documents of a YAML text to JSON.
func fromYAML(data []byte) ([]json.RawMessage, error) {
	var documents []json.RawMessage
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		if hasAlias(&node) {
			return nil, errAlias
		}
		var document any
		if err := node.Decode(&document); err != nil {
			return nil, err
		}
		if document == nil {
			continue // empty document
		}
		encoded, err := json.Marshal(document)
		if err != nil {
			return nil, err
		}
		documents = append(documents, encoded)
	}
}

// errAlias is the error for a YAML alias, by which a small file can expand to a very large
// one. Manifests have no aliases.
var errAlias = errors.New("contains a YAML alias")

func hasAlias(node *yaml.Node) bool {
	return node.Kind == yaml.AliasNode || slices.ContainsFunc(node.Content, hasAlias)
}

// add adds a document: a file with logins, a Secret, or a List of Secrets.
func (l *logins) add(document json.RawMessage) error {
	var content map[string]json.RawMessage
	if json.Unmarshal(document, &content) != nil {
		return errLoginForm
	}
	var kind string
	_ = json.Unmarshal(content["kind"], &kind) // optional
	switch kind {
	case "Secret":
		return l.addSecret(document)
	case "List", "SecretList":
		var items []json.RawMessage
		if json.Unmarshal(content["items"], &items) != nil {
			return errLoginForm
		}
		for _, item := range items {
			var secret struct{ Kind string }
			if json.Unmarshal(item, &secret) == nil && (secret.Kind == "Secret" || secret.Kind == "" && kind == "SecretList") {
				if err := l.addSecret(item); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return l.addConfig(content)
}

// addSecret adds the logins of a Secret. stringData takes precedence over data, as in
// Kubernetes.
func (l *logins) addSecret(document json.RawMessage) error {
	var secret struct {
		Data       map[string]string `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	if json.Unmarshal(document, &secret) != nil {
		return errLoginForm
	}
	for _, key := range []string{".dockerconfigjson", ".dockercfg"} {
		data := []byte(secret.StringData[key])
		if encoded := secret.Data[key]; len(data) == 0 && encoded != "" {
			var err error
			if data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), "")); err != nil {
				return errors.New("is a Secret whose data is not base64")
			}
		}
		var content map[string]json.RawMessage
		switch {
		case len(data) == 0:
			continue
		case json.Unmarshal(data, &content) != nil:
			return errLoginForm
		}
		return l.addConfig(content)
	}
	return errors.New("is a Secret without .dockerconfigjson and .dockercfg")
}
