package config

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
			v.problem("found together with %s at the top level, expected only one of them", key)
		}
		set[key] = v
	}
}
