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

// fileLimit bounds the size of the files of other programs, in bytes.
const fileLimit = 4 << 20

// endpoints are the CRI endpoints in a client's configuration.
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

// readKubeadm returns the CRI sockets in a file of kubeadm. They are in documents of
// kubeadm's API, or in the kubelet configuration of the instance (NodeLocalCRISocket).
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

// readYAML decodes a file. Its error contains nothing of the file's content.
func readYAML(file string, decode func(*yaml.Decoder) error) error {
	content, err := readFile(file)
	if err != nil {
		return err
	}
	if compact := (&bytes.Buffer{}); json.Compact(compact, content) == nil {
		content = compact.Bytes() // without tabs, which YAML does not allow
	}
	if err := decode(yaml.NewDecoder(bytes.NewReader(content))); err != nil && !errors.Is(err, io.EOF) {
		return errors.New("the file is not YAML of the expected form")
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

// unquote joins continued lines and removes quotes. Removing quotes is safe because
// endpoints contain no spaces.
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
				word = word[at+1:] // Environment="VARIABLE=--flag=..." in a unit
			}
			flag, value, joined := strings.Cut(word, "=")
			if !joined && i+1 < len(words) {
				value = words[i+1]
			}
			switch strings.ReplaceAll(flag, "_", "-") { // like kubelet
			case "--container-runtime-endpoint":
				found.Runtime = value
			case "--image-service-endpoint":
				found.Image = value
			}
		}
	}
	return found
}

// readFile reads a file of another program. The size is limited to fileLimit.
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
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, fileLimit)
	}
	return io.ReadAll(io.LimitReader(file, fileLimit))
}
