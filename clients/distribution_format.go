package clients

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rancherFormat is the format of the configuration of k3s and RKE2: YAML with endpoints in
// top-level keys and among the arguments of kubelet.
var rancherFormat = format{find: findRancherSettings}

// argumentsKey is the key of a setting without an endpoint, where a file replaces the arguments
// of kubelet in earlier files.
const argumentsKey = "kubelet-arg"

func findRancherSettings(content string) (settings []setting, err error) {
	root, err := readMapping(content)
	if err != nil || root == nil {
		return nil, err
	}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		var found []setting
		switch key.Value {
		case "container-runtime-endpoint", "image-service-endpoint":
			one, err := locateValue(content, key, value)
			if err != nil {
				return nil, err
			}
			found = []setting{one}
		case argumentsKey, argumentsKey + "+":
			if found, err = findArguments(content, value); err != nil {
				return nil, err
			}
			if key.Value == argumentsKey {
				found = append([]setting{{key: argumentsKey, line: key.Line}}, found...)
			}
		}
		for _, next := range found {
			if _, twice := findSetting(settings, next.key); twice {
				return nil, lineError(next.line, next.key, "is set twice")
			}
			settings = append(settings, next)
		}
	}
	return settings, nil
}

// argument matches an argument of kubelet with an endpoint, with or without dashes.
var argument = regexp.MustCompile(`^(?:--)?(container[-_]runtime[-_]endpoint|image[-_]service[-_]endpoint)=(.*)$`)

// findArguments finds the endpoints in a kubelet argument, or in a list of them.
func findArguments(content string, value *yaml.Node) (settings []setting, err error) {
	arguments := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		arguments = value.Content
	}
	for _, node := range arguments {
		if node.Kind != yaml.ScalarNode {
			return nil, lineError(node.Line, "kubelet-arg", "expected literal arguments")
		}
		match := argument.FindStringSubmatch(node.Value)
		if match == nil {
			continue
		}
		key := "kubelet-arg " + strings.ReplaceAll(match[1], "_", "-")
		start := byteOffset(content, node.Line, node.Column)
		if strings.HasPrefix(content[start:], `"`) || strings.HasPrefix(content[start:], "'") {
			start++
		}
		if match[2] == "" || !strings.HasPrefix(content[start:], node.Value) {
			return nil, lineError(node.Line, key, "expected a literal endpoint, without escapes or a tag")
		}
		end := start + len(node.Value)
		settings = append(settings, setting{key: key, line: node.Line, start: end - len(match[2]), end: end, endpoint: match[2]})
	}
	return settings, nil
}

// unitFormat is the format of systemd units of distributions, which are only read. Arguments
// may be quoted, and be on lines of their own.
var unitFormat = format{find: findUnitSettings}

var (
	unitArgument = regexp.MustCompile(`(?:^|[\s=])(?:--)?(container[-_]runtime[-_]endpoint|image[-_]service[-_]endpoint|cri-socket)(?:[=\s]+)(\S+)`)
	unitReplace  = regexp.MustCompile(`(?:^|\s)--kubelet-arg[=\s]`)
	unitSpace    = strings.NewReplacer("\\\n", "  ", `"`, " ", "'", " ") // keeps offsets
)

func findUnitSettings(content string) (settings []setting, err error) {
	start := 0
	for line := range strings.SplitAfterSeq(unitSpace.Replace(content), "\n") {
		if !isComment(line) {
			if _, replaced := findSetting(settings, argumentsKey); !replaced && unitReplace.MatchString(line) {
				settings = append(settings, setting{key: argumentsKey, line: strings.Count(content[:start], "\n") + 1})
			}
			for _, match := range unitArgument.FindAllStringSubmatchIndex(line, -1) {
				key := strings.ReplaceAll(line[match[2]:match[3]], "_", "-")
				number := strings.Count(content[:start+match[2]], "\n") + 1
				value := line[match[4]:match[5]]
				if strings.HasPrefix(value, "-") || strings.ContainsAny(value, `\$`) {
					return nil, lineError(number, key, "expected an endpoint after it, without escapes or variables")
				}
				if slices.ContainsFunc(settings, func(s setting) bool { return s.key == key }) {
					return nil, lineError(number, key, "is set twice")
				}
				settings = append(settings, setting{key: key, line: number, start: start + match[4], end: start + match[5], endpoint: value})
			}
		}
		start += len(line)
	}
	return settings, nil
}
