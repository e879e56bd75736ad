package fleet

// Summary counts the nodes of a fleet.
type Summary struct {
	Nodes          int            `json:"nodes"`
	Ready          int            `json:"ready"` // in the state ready or removed
	States         map[State]int  `json:"states"`
	Versions       map[string]int `json:"versions"`       // without nodes that are taken out
	Configurations map[string]int `json:"configurations"` // without nodes that are taken out
	PullsFailing   *int           `json:"pullsFailing"`   // nil: not permitted
}

// summarize counts nodes. A node with several releases counts once for each.
func summarize(nodes []Node) Summary {
	s := Summary{Nodes: len(nodes), States: make(map[State]int), Versions: make(map[string]int), Configurations: make(map[string]int)}
	counted := make(map[string]bool)
	for _, n := range nodes {
		s.States[n.State]++
		if n.Ready {
			s.Ready++
		}
		if n.Component != removal {
			s.Versions[n.Version]++
			s.Configurations[n.Configuration]++
		}
		if n.PullsFailing != nil && !counted[n.Node] {
			if s.PullsFailing == nil {
				s.PullsFailing = new(int)
			}
			*s.PullsFailing += *n.PullsFailing
			counted[n.Node] = true
		}
	}
	return s
}
