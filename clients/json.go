package clients

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// isJSON reports whether a file is JSON. JSON is YAML too, but is edited differently.
func isJSON(content string) bool {
	return strings.HasPrefix(strings.TrimSpace(content), "{") && json.Valid([]byte(content))
}

// findJSON finds endpoints among the members of an object.
func findJSON(content string, keys []string) (settings []setting, err error) {
	decoder := json.NewDecoder(strings.NewReader(content))
	if _, err := decoder.Token(); err != nil { // the brace
		return nil, err
	}
	before := int(decoder.InputOffset()) // offset after the brace or the last value
	for ; decoder.More(); before = int(decoder.InputOffset()) {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, err
		}
		end := int(decoder.InputOffset())
		line := strings.Count(content[:end], "\n") + 1
		var text string
		isText := json.Unmarshal(raw, &text) == nil && string(raw) == `"`+text+`"`
		switch _, twice := findSetting(settings, key); {
		case key == "kind" && text != "KubeletConfiguration":
			return nil, lineError(line, key, fmt.Sprintf("found %q, expected KubeletConfiguration", text))
		case !slices.Contains(keys, key):
			continue
		case twice:
			return nil, lineError(line, key, "is set twice")
		case !isText:
			return nil, lineError(line, key, "expected an endpoint in quotes, without escapes")
		}
		settings = append(settings, setting{
			key: key, line: line, start: end - len(raw), end: end, endpoint: text, fullRange: cutMember(content, before, end),
		})
	}
	return settings, nil
}

// cutMember returns the range of a member of an object and the comma to remove with it. before
// is the offset after the preceding brace or value, end the offset after the member.
func cutMember(content string, before, end int) [2]int {
	if content[before-1] == '{' { // the first member: the comma after it, if any
		rest := strings.TrimLeft(content[end:], " \t\r\n")
		if strings.HasPrefix(rest, ",") {
			end = len(content) - len(rest) + 1
		}
	}
	return [2]int{before, end}
}

// addJSON inserts a member before the first one, on a line of its own if the first one has its
// own.
func addJSON(content, key, endpoint string) string {
	brace := strings.IndexByte(content, '{') + 1
	rest := strings.TrimLeft(content[brace:], " \t\r\n")
	space := content[brace : len(content)-len(rest)]
	member := fmt.Sprintf("%s%q: %q", space, key, endpoint)
	if strings.HasPrefix(rest, "}") {
		return content[:brace] + member + content[brace:]
	}
	return content[:brace] + member + "," + content[brace:]
}
