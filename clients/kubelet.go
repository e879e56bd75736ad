package clients

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// configFlag matches kubelet's flags that name its configuration, and their values.
var configFlag = regexp.MustCompile(`(?:^|[\s"'=])--config([-_]dir)?[=\s]+["']?(/[^\s"'\\$]+)`)

// KubeletConfig returns the configuration file that kubelet's flags in the files
// name, and the drop-ins in the folder that they name, in the order in which kubelet
// reads them. A later file counts more. Both are empty where no flag names them; files
// that can't be read name nothing.
func KubeletConfig(files []string) (file string, dropIns []string) {
	folder := ""
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil || len(content) > sizeLimit {
			continue
		}
		for line := range strings.Lines(string(content)) {
			if isComment(line) {
				continue
			}
			for _, match := range configFlag.FindAllStringSubmatch(line, -1) {
				if match[1] == "" {
					file = filepath.Clean(match[2])
				} else {
					folder = filepath.Clean(match[2])
				}
			}
		}
	}
	if folder == "" {
		return file, nil
	}
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".conf" {
			dropIns = append(dropIns, path)
		}
		return nil
	})
	return file, dropIns
}

func isComment(line string) bool {
	text := strings.TrimSpace(line)
	return strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";")
}
