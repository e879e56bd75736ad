package config

// inPlace is the hint for the content of the ConfigMap in a file that has registries of its own.
const inPlace = "; put it in place of address, auth and registries"

// sealosHint returns a hint for a key of v that is set twice, or "".
func (v value) sealosHint(key string) string {
	if _, sealos := v.fields()["sealos"]; sealos && v.key == "" && key == "registries" {
		return inPlace
	}
	return ""
}

// readSealos reads the main registry from the key sealos, as in the ConfigMap of the original
// program. It returns the keys that are set.
func (r *Registry) readSealos(v value) map[string]value {
	return v.mapping(keyParsers{
		"address": into(&r.Address, parseAddress),
		"auth":    r.readAuth,
	})
}

// mergeSealos adds the keys below sealos to those of the top level, which have the
// same meaning.
func mergeSealos(set, sealos map[string]value) {
	for _, key := range []string{"address", "auth"} {
		v, ok := sealos[key]
		if !ok {
			continue
		}
		if _, twice := set[key]; twice {
			v.problem("found together with %s at the top level, expected only one of them%s", key, inPlace)
		}
		set[key] = v
	}
}
