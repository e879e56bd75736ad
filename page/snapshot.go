package page

import (
	"context"
	"time"
)

// snapshot is the content of the page except the ledger.
type snapshot struct {
	Now     time.Time `json:"now"`
	Started time.Time `json:"started"`
	Service
	health
	Registries    []Registry         `json:"registries"`
	Decisions     []numberedDecision `json:"decisions"` // the newest first
	Calls         []methodCalls      `json:"calls"`
	Configuration *string            `json:"configuration,omitempty"` // nil if unchanged in an update
}

// snapshot returns the current content of the page.
func (p *Page) snapshot(ctx context.Context) snapshot {
	now := time.Now()
	service, registries, configuration := p.sources.Service(ctx), p.sources.Registries(), p.sources.Configuration()
	decisions := p.decisions.newestFirst()
	return snapshot{
		Now:           now,
		Started:       p.started,
		Service:       service,
		health:        diagnose(now, service, registries, decisions),
		Registries:    registries,
		Decisions:     decisions,
		Calls:         p.calls.list(now),
		Configuration: &configuration,
	}
}

// viewerState records what a viewer has received.
type viewerState struct {
	lastDecision  uint64 // number of the newest decision
	configuration *string
}

// delta returns the parts of the snapshot that changed since the viewer's last update, and
// records that the viewer has them.
func (v *viewerState) delta(s snapshot) snapshot {
	for i, decision := range s.Decisions {
		if decision.Number == v.lastDecision {
			s.Decisions = s.Decisions[:i]
			break
		}
	}
	if len(s.Decisions) > 0 {
		v.lastDecision = s.Decisions[0].Number
	}
	if v.configuration != nil && *v.configuration == *s.Configuration {
		s.Configuration = nil
	} else {
		v.configuration = s.Configuration
	}
	return s
}
