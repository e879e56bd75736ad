package page

import (
	"context"
	"time"
)

// snapshot is everything that the page shows, but for the ledger.
type snapshot struct {
	Now     time.Time `json:"now"`
	Started time.Time `json:"started"`
	Service
	health
	Registries    []Registry    `json:"registries"`
	Decisions     []made        `json:"decisions"` // the newest first
	Calls         []methodCalls `json:"calls"`
	Configuration *string       `json:"configuration,omitempty"` // nil where the viewer has it already
}

// snapshot looks at everything.
func (p *Page) snapshot(ctx context.Context) snapshot {
	now := time.Now()
	service, registries, configuration := p.sources.Service(ctx), p.sources.Registries(), p.sources.Configuration()
	decisions := p.decisions.kept()
	return snapshot{
		Now:           now,
		Started:       p.started,
		Service:       service,
		health:        judge(now, service, registries, decisions),
		Registries:    registries,
		Decisions:     decisions,
		Calls:         p.calls.shown(now),
		Configuration: &configuration,
	}
}

// viewed is the part of the snapshots that a viewer has.
type viewed struct {
	decision      uint64 // the number of the last one
	configuration *string
}

// news leaves of a snapshot what the viewer does not have, who then has it.
func (v *viewed) news(s snapshot) snapshot {
	for i, decision := range s.Decisions {
		if decision.Number == v.decision {
			s.Decisions = s.Decisions[:i]
			break
		}
	}
	if len(s.Decisions) > 0 {
		v.decision = s.Decisions[0].Number
	}
	if v.configuration != nil && *v.configuration == *s.Configuration {
		s.Configuration = nil
	} else {
		v.configuration = s.Configuration
	}
	return s
}
