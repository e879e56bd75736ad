package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// parseHosts returns the routes of a hosts.toml in the order in which containerd uses
// them. The last route is the server; its host is empty if the file sets no server. The
// error is the reason why containerd ignores the file. It contains nothing of the file's
// content.
func parseHosts(folder string, content []byte, rules hostsRules) ([]route, error) {
	if !rules.containerd2 {
		content = bytes.TrimPrefix(content, []byte("\ufeff"))
	}
	root := hostSettings{rules: rules, folder: folder}
	if err := decodeTOML(content, &root.keys); err != nil {
		return nil, err
	}
	hosts, isTable := root.keys["host"].(map[string]any)
	if _, set := root.keys["host"]; set && !isTable || !set && rules.needsTable {
		return nil, errors.New(`the file has no table [host."..."]`)
	}
	for _, value := range hosts {
		if _, isTable := value.(map[string]any); !isTable {
			return nil, errors.New("a host in the file is not a table")
		}
	}
	var routes []route
	for _, name := range hostOrder(content, hosts, rules) {
		keys, _ := hosts[name].(map[string]any)
		settings := hostSettings{rules: rules, folder: folder, keys: keys}
		r, err := settings.route(name)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	server, err := root.text("server")
	if err != nil {
		return nil, err
	}
	last, err := root.route(server)
	return append(routes, last), err
}

// hostOrder returns the names of the hosts in the order of the file. containerd 2 uses only
// hosts with a table of their own, and lists a host twice if another host's table stands
// between its tables.
func hostOrder(content []byte, hosts map[string]any, rules hostsRules) (names []string) {
	parser := unstable.Parser{}
	parser.Reset(content)
	inHost := false // below [host]
	for parser.NextExpression() {
		expression := parser.Expression()
		if expression.Kind != unstable.Table && expression.Kind != unstable.KeyValue {
			continue
		}
		var parts []string
		for key := expression.Key(); key.Next(); {
			parts = append(parts, string(key.Node().Data))
		}
		isTable := expression.Kind == unstable.Table
		if isTable {
			inHost = len(parts) == 1 && parts[0] == "host"
		} else if inHost {
			parts = append([]string{"host"}, parts...)
		}
		if len(parts) < 2 || parts[0] != "host" || rules.containerd2 && !isTable {
			continue
		}
		last := len(names) - 1
		if rules.containerd2 && (last < 0 || names[last] != parts[1]) || !rules.containerd2 && !slices.Contains(names, parts[1]) {
			names = append(names, parts[1])
		}
	}
	if !rules.containerd2 { // host = {...}
		for _, name := range slices.Sorted(maps.Keys(hosts)) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return hosts[name] == nil })
}

// readHosts reads the hosts.toml of a folder. If the file does not exist or containerd
// ignores it, readHosts returns a route with the certificates of the folder, as in Docker's
// certs.d. ignored is the reason why containerd ignores the file.
func readHosts(folder string, rules hostsRules) (routes []route, ignored, err error) {
	content, err := readFile(filepath.Join(folder, "hosts.toml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	if len(content) > 0 {
		if routes, ignored = parseHosts(folder, content, rules); ignored == nil {
			return routes, nil, nil
		}
	}
	last := route{resolvesTags: true, caFiles: certificates(folder)}
	files, err := filepath.Glob(filepath.Join(folder, "*.cert"))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", folder, err)
	}
	for _, file := range files {
		pair := [2]string{file}
		if key := strings.TrimSuffix(file, ".cert") + ".key"; exists(key) {
			pair[1] = key
		}
		last.clientCertificates = append(last.clientCertificates, pair)
	}
	return []route{last}, ignored, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func certificates(folder string) []string {
	files, err := filepath.Glob(filepath.Join(folder, "*.crt"))
	if err != nil {
		return nil
	}
	return files
}
