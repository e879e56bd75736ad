package service

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"image-cri-shim/config"
)

// ConfigKey is the key of the configuration in [Files].
const ConfigKey = "image-cri-shim.yaml"

// Files is the content of the node's files by the key of the Secret. [ConfigKey] is the
// configuration, /etc/image-cri-shim.yaml. Every other key K is the file /etc/image-cri-shim/K.
type Files map[string][]byte

// validKey matches the keys that Kubernetes permits, up to a length that leaves space for the names
// of records and temporary files.
var validKey = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,170}$`)

// Validate returns an error that names a key that can't be a file name, or the missing
// configuration.
func (f Files) Validate() error {
	if _, ok := f[ConfigKey]; !ok {
		return fmt.Errorf("the key %s is missing: it is the shim's configuration", ConfigKey)
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !validKey.MatchString(key) || key == "." || strings.HasPrefix(key, "..") {
			return fmt.Errorf("key %.80q can't be a file name: use up to 170 letters, digits, '-', '_' and '.', and no leading '..'", key)
		}
	}
	return nil
}

// Hash returns a hash of the keys and their content.
func (f Files) Hash() string {
	hash := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(f)) {
		for _, part := range [][]byte{[]byte(key), f[key]} {
			hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			hash.Write(part)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// extras returns the files other than the configuration, in a fixed order.
func (f Files) extras() (extras []file) {
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if key != ConfigKey {
			extras = append(extras, file{filepath.Join(extrasFolder, key), f[key], 0o600})
		}
	}
	return extras
}

// checkNamed returns an error if the configuration names a file of the folder of the other keys
// that is not one of them: it is a rest of a former configuration, or missing.
func (f Files) checkNamed(settings *config.Config) error {
	for i, r := range settings.Registries {
		for _, named := range []struct{ key, path string }{{"ca", r.CA}, {"authFile", r.AuthFile}} {
			path := filepath.Clean(named.path)
			name, inFolder := strings.CutPrefix(path, extrasFolder+"/")
			if _, ok := f[name]; ok && name != ConfigKey || !inFolder {
				continue
			}
			problems, _ := errors.AsType[config.Problems](settings.Problem(i, named.key,
				fmt.Errorf("%s is not among the files of the configuration", path),
				fmt.Sprintf("add the file with the name %q, or move it out of %s on the nodes", name, extrasFolder)))
			for j := range problems {
				problems[j].File = ConfigKey
			}
			return problems
		}
	}
	return nil
}

// parse returns the configuration. It reads no file but those that the configuration names.
func (f Files) parse() (*config.Config, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	return config.Parse(config.DefaultFile, f[ConfigKey])
}
