package config

import (
	"strings"

	"github.com/xrash/smetrics"
)

// nearest returns the known key that is most similar to key, or "" if none is similar.
func nearest(key string, known []string) string {
	best, closest := "", len(key)/3+1
	if len(key) > 40 {
		return ""
	}
	for _, candidate := range known {
		distance := smetrics.WagnerFischer(strings.ToLower(key), strings.ToLower(candidate), 1, 1, 1)
		if distance < closest {
			best, closest = candidate, distance
		}
	}
	return best
}
