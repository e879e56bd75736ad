package doctor

import (
	"os"
	"path/filepath"
	"strings"
)

// kubeletProcess is the part of a kubelet's command line that decides on its endpoint.
type kubeletProcess struct {
	config   string // absolute path of --config; empty: none
	endpoint string // --container-runtime-endpoint; empty: none
	hasFlags bool
}

// readKubeletProcess reads the command line of a kubelet from its folder in /proc.
func readKubeletProcess(folder string) (p kubeletProcess) {
	content, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	if err != nil {
		return p
	}
	arguments := strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00")
	for i, argument := range arguments {
		flag, value, joined := strings.Cut(argument, "=")
		if !strings.HasPrefix(flag, "--") {
			continue
		}
		p.hasFlags = true
		if !joined && i+1 < len(arguments) {
			value = arguments[i+1]
		}
		switch strings.ReplaceAll(flag, "_", "-") { // like kubelet
		case "--config":
			p.config = value
		case "--container-runtime-endpoint":
			p.endpoint = value
		}
	}
	if p.config == "" {
		return p
	}
	if !filepath.IsAbs(p.config) {
		directory, _ := os.Readlink(filepath.Join(folder, "cwd")) // needs root
		p.config = filepath.Join(directory, p.config)
	}
	p.config = filepath.Clean(p.config)
	return p
}
