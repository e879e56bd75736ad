package trace

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestRing compares a ring with a list of lines.
func TestRing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r := ring{buffer: make([]byte, 64)}
	var model []string
	for i := range 10_000 {
		line := strings.Repeat(fmt.Sprint(i%10), random.IntN(63)) + "\n"
		dropped := r.push([]byte(line))
		before := len(model)
		model = append(model, line)
		for len(strings.Join(model, "")) > 64 {
			model = model[1:]
		}
		if got := string(r.appendTo(nil)); got != strings.Join(model, "") || dropped != (len(model) <= before) {
			t.Fatalf("line %d: got %q, want %q (dropped: %t)", i, got, model, dropped)
		}
	}
}
