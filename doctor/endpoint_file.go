package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileLimit bounds the files of others, in bytes.
const fileLimit = 4 << 20

// endpoints are the CRI sockets that a client is told to use.
type endpoints struct{ Runtime, Image string }

// readKubelet reads kubelet's configuration (kubelet.config.k8s.io).
func readKubelet(file string) (endpoints, error) {
	var content struct {
		Runtime string `yaml:"containerRuntimeEndpoint"`
		Image   string `yaml:"imageServiceEndpoint"`
	}
	err := readYAML(file, func(d *yaml.Decoder) error { return d.Decode(&content) })
	return endpoints(content), err
}

// readCrictl reads crictl's configuration.
func readCrictl(file string) (endpoints, error) {
	var content struct {
		Runtime string `yaml:"runtime-endpoint"`
		Image   string `yaml:"image-endpoint"`
	}
	err := readYAML(file, func(d *yaml.Decoder) error { return d.Decode(&content) })
	return endpoints(content), err
}

// readKubeadm returns the CRI sockets that a file of kubeadm's names: of the
// documents of its own API, or of an instance's kubelet, which it may keep (NodeLocalCRISocket).
func readKubeadm(file string) (sockets []string, err error) {
	err = readYAML(file, func(d *yaml.Decoder) error {
		for {
			var document struct {
				NodeRegistration struct {
					Socket string `yaml:"criSocket"`
				} `yaml:"nodeRegistration"`
				Endpoint string `yaml:"containerRuntimeEndpoint"`
			}
			if err := d.Decode(&document); err != nil {
				return err
			}
			for _, socket := range []string{document.NodeRegistration.Socket, document.Endpoint} {
				if socket != "" {
					sockets = append(sockets, socket)
				}
			}
		}
	})
	return sockets, err
}

// readYAML decodes a file. Its error says nothing of what is in it.
func readYAML(file string, decode func(*yaml.Decoder) error) error {
	content, err := readFile(file)
	if err != nil {
		return err
	}
	if compact := (&bytes.Buffer{}); json.Compact(compact, content) == nil {
		content = compact.Bytes() // without tabs, which YAML does not take
	}
	if err := decode(yaml.NewDecoder(bytes.NewReader(content))); err != nil && !errors.Is(err, io.EOF) {
		return errors.New("is no YAML of the form that is expected")
	}
	return nil
}

// readKubeletFlags reads the flags in a unit or a file of environment variables, such as
// KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/x.sock ...".
func readKubeletFlags(file string) (endpoints, error) {
	content, err := readFile(file)
	if err != nil {
		return endpoints{}, err
	}
	return parseKubeletFlags(string(content)), nil
}

// unquoted joins lines that go on, and leaves quotes out: no endpoint has a space.
var unquote = strings.NewReplacer("\\\n", " ", `"`, "", "'", "")

func parseKubeletFlags(content string) endpoints {
	var found endpoints
	content = unquote.Replace(content)
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		_, value, assigned := strings.Cut(line, "=")
		if !assigned || line[0] == '#' || line[0] == ';' {
			continue
		}
		words := strings.Fields(value)
		for i, word := range words {
			if at := strings.Index(word, "=--"); at > 0 && !strings.HasPrefix(word, "--") {
				word = word[at+1:] // Environment="VARIABLE=--flag=..." of a unit
			}
			flag, value, joined := strings.Cut(word, "=")
			if !joined && i+1 < len(words) {
				value = words[i+1]
			}
			switch strings.ReplaceAll(flag, "_", "-") { // as kubelet does
			case "--container-runtime-endpoint":
				found.Runtime = value
			case "--image-service-endpoint":
				found.Image = value
			}
		}
	}
	return found
}

// readFile reads a file of somebody else.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > fileLimit {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, fileLimit)
	}
	return io.ReadAll(io.LimitReader(file, fileLimit))
}
