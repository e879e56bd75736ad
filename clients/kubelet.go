package clients

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// configFlag matches kubelet's flags --config and --config-dir with their values.
var configFlag = regexp.MustCompile(`(?:^|[\s"'=])--config([-_]dir)?[=\s]+["']?(/[^\s"'\\$]+)`)

// KubeletConfig searches files for kubelet's flags --config and --config-dir. It returns the
// configuration file that --config names, and the drop-ins in the folder that --config-dir
// names, in the order in which kubelet reads them: a later one overrides an earlier one. A
// result is empty if no flag sets it. Files that can't be read are skipped.
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
