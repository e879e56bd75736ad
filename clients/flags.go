package clients

import (
	"regexp"
	"strings"
)

// endpointFlag matches one of kubelet's endpoint flags, with the character before it and its
// value. kubelet accepts _ in place of - in flag names.
var endpointFlag = regexp.MustCompile(`(?:^|[\s"'=])--(container[-_]runtime[-_]endpoint|image[-_]service[-_]endpoint)([=\s]*)([^\s"']*)`)

// flagsFormat is the format of files with kubelet's flags: environment files that kubeadm
// writes and systemd reads, and systemd units.
var flagsFormat = flagsFormatWith(strings.NewReplacer())

// flagsFormatWith is flagsFormat for files in which variables replaces the variables in
// endpoints.
func flagsFormatWith(variables *strings.Replacer) format {
	return format{find: func(content string) ([]setting, error) { return findFlags(content, variables) }}
}

func findFlags(content string, variables *strings.Replacer) (settings []setting, err error) {
	start := 0
	for i, line := range strings.SplitAfter(content, "\n") {
		found, err := flagsOfLine(line, start, i+1, variables)
		if err != nil {
			return nil, err
		}
		for _, next := range found {
			if _, twice := findSetting(settings, next.key); twice {
				return nil, lineError(next.line, next.key, "is set twice")
			}
			settings = append(settings, next)
		}
		start += len(line)
	}
	return settings, nil
}

func flagsOfLine(line string, start, number int, variables *strings.Replacer) (settings []setting, err error) {
	if isComment(line) {
		return nil, nil
	}
	for _, match := range endpointFlag.FindAllStringSubmatchIndex(line, -1) {
		key := strings.ReplaceAll(line[match[2]:match[3]], "_", "-")
		separator, value := line[match[4]:match[5]], variables.Replace(line[match[6]:match[7]])
		if separator == "" || value == "" || strings.HasPrefix(value, "-") || strings.ContainsAny(value, `\$`) {
			return nil, lineError(number, key, "expected an endpoint after it, without quotes, escapes or variables")
		}
		settings = append(settings, setting{key: key, line: number, start: start + match[6], end: start + match[7], endpoint: value})
	}
	return settings, nil
}
