package main

import (
	"fmt"
	"math"
	"strconv"
)

// number formats a figure with three significant digits, or with all digits before the point.
func number(v float64) string {
	decimals := 0
	if v != 0 {
		decimals = max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	}
	decimals = min(decimals, 3)
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if whole := math.Round(v); whole == v && math.Abs(v) < 1e6 {
		text = strconv.FormatFloat(v, 'f', 0, 64)
	}
	if math.Abs(v) >= 10_000 {
		return thousands(int(math.Round(v)))
	}
	return text
}

// String formats the median and, in brackets, the minimum and the maximum.
func (s spread) String() string {
	switch {
	case s.Rounds == 0:
		return "-"
	case s.Least == s.Most:
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.Median), number(s.Least), number(s.Most))
}

// thousands formats a count with commas.
func thousands(n int) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
