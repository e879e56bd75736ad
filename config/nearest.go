package config

import "strings"

// nearest returns the known key that is most similar to key, or "" if none is similar. A known
// key that contains key, such as offlinePriority for priority, is similar too.
func nearest(key string, known []string) string {
	if len(key) > 40 {
		return ""
	}
	key = strings.ToLower(key)
	best, closest := "", len(key)/3+1
	for _, candidate := range known {
		if distance := editDistance(key, strings.ToLower(candidate)); distance < closest {
			best, closest = candidate, distance
		}
	}
	for _, candidate := range known {
		if best == "" && len(key) > 3 && strings.Contains(strings.ToLower(candidate), key) {
			best = candidate
		}
	}
	return best
}

// editDistance returns the Damerau-Levenshtein distance of two texts in the variant that edits
// no part twice: the number of bytes to insert, delete or replace, and of neighbors to swap.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
