package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"image-cri-shim/agent/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hash = "0123456789abcdef0123456789abcdef"

// readyStatus returns the status of a node that is ready.
func readyStatus(now time.Time) status.Status {
	return status.Status{
		Command: "agent", Process: 1, Updated: now, Version: "v2", Hash: hash, State: status.Ready, Ready: true,
		Applied: &status.Applied{Hash: hash, Version: "v2", Time: now}, Serving: "v2", KubeletConnected: true, KubeletRestarts: 1,
	}
}

// TestCollector requires the metrics of a status in each state.
func TestCollector(t *testing.T) {
	now := time.Unix(1_700_000_000, 500_000_000)
	change := func(change func(*status.Status)) status.Status {
		s := readyStatus(now)
		change(&s)
		return s
	}
	long := strings.Repeat("a\n", 300)
	for name, c := range map[string]struct {
		status  status.Status
		err     error
		state   status.State
		unready string // labels of unready_info
		more    string
	}{
		"ready": {readyStatus(now), nil, status.Ready, "", `
			# HELP image_cri_shim_agent_applied_info Configuration and version that were applied last; always 1.
			# TYPE image_cri_shim_agent_applied_info gauge
			image_cri_shim_agent_applied_info{configuration="0123456789ab",version="v2"} 1
			# HELP image_cri_shim_agent_requested_info Requested configuration and version; always 1.
			# TYPE image_cri_shim_agent_requested_info gauge
			image_cri_shim_agent_requested_info{configuration="0123456789ab",version="v2"} 1
			# HELP image_cri_shim_agent_kubelet_connected 1 if kubelet is connected through the shim.
			# TYPE image_cri_shim_agent_kubelet_connected gauge
			image_cri_shim_agent_kubelet_connected 1
			# HELP image_cri_shim_agent_kubelet_restarts Restarts of kubelet by the agent within the last hour.
			# TYPE image_cri_shim_agent_kubelet_restarts gauge
			image_cri_shim_agent_kubelet_restarts 1
			# HELP image_cri_shim_agent_drift_total Checks of the node that found and repaired differences.
			# TYPE image_cri_shim_agent_drift_total counter
			image_cri_shim_agent_drift_total 0
			# HELP image_cri_shim_agent_status_timestamp_seconds Time of the agent's last report.
			# TYPE image_cri_shim_agent_status_timestamp_seconds gauge
			image_cri_shim_agent_status_timestamp_seconds 1.7000000005e+09
			# HELP image_cri_shim_agent_shim_scraped 1 if the metrics of the shim are part of this response.
			# TYPE image_cri_shim_agent_shim_scraped gauge
			image_cri_shim_agent_shim_scraped 1
			# HELP image_cri_shim_agent_build_info Version of the agent, and of the shim that it installs; always 1.
			# TYPE image_cri_shim_agent_build_info gauge
			image_cri_shim_agent_build_info{version="v2"} 1
			`},
		"drift, doctor and registries": {change(func(s *status.Status) {
			s.Drift = &status.Drift{Count: 4, Time: now, Found: []string{"a"}}
			s.Doctor = []string{"a", "b"}
			s.LookUp = &status.LookUp{Hash: hash, Time: now, Unreachable: []status.Registry{{Address: "https://hub", Reason: "refused"}, {Address: "https://hub", Reason: "twice"}}}
		}), nil, status.Ready, "", `
			# HELP image_cri_shim_agent_drift_total Checks of the node that found and repaired differences.
			# TYPE image_cri_shim_agent_drift_total counter
			image_cri_shim_agent_drift_total 4
			# HELP image_cri_shim_agent_doctor_failures Failures that the doctor found on the node.
			# TYPE image_cri_shim_agent_doctor_failures gauge
			image_cri_shim_agent_doctor_failures 2
			# HELP image_cri_shim_agent_registry_unreachable 1 for each registry that the last look-up could not use.
			# TYPE image_cri_shim_agent_registry_unreachable gauge
			image_cri_shim_agent_registry_unreachable{registry="https://hub"} 1
			`},
		"applying": {change(func(s *status.Status) { s.State, s.Ready, s.Step = status.Applying, false, "probe the shim" }),
			nil, status.Applying, `reason="in progress: probe the shim",state="applying",step="probe the shim"`, ""},
		"no status": {status.Status{}, errors.New("the status is of another agent, process 7"),
			status.Applying, `reason="the status is of another agent, process 7",state="applying",step=""`, `
			# HELP image_cri_shim_agent_build_info Version of the agent, and of the shim that it installs; always 1.
			# TYPE image_cri_shim_agent_build_info gauge
			image_cri_shim_agent_build_info{version="v2"} 1
			`},
		"refused": {change(func(s *status.Status) {
			s.State, s.Ready, s.Reason = status.Refused, false, "check the configuration: image-cri-shim.yaml:3: key registries: https://user:canary@hub is invalid"
			s.Failure = &status.Failure{Hash: hash, Version: "v2", Step: "check the configuration", Attempts: 2}
		}), nil, status.Refused, `reason="image-cri-shim.yaml:3: key registries: https://hub is invalid",state="refused",step="check the configuration"`, `
			# HELP image_cri_shim_agent_failed_attempts Failed attempts in succession to apply a configuration.
			# TYPE image_cri_shim_agent_failed_attempts gauge
			image_cri_shim_agent_failed_attempts 2
			`},
		"waiting": {change(func(s *status.Status) { s.State, s.Ready, s.Reason = status.Waiting, false, "kubelet did not connect" }),
			nil, status.Waiting, `reason="kubelet did not connect",state="waiting",step=""`, ""},
		"failed": {change(func(s *status.Status) { s.State, s.Ready, s.Reason, s.Applied = status.Failed, false, long, nil }),
			nil, status.Failed, `reason="` + strings.Repeat("a; ", 300)[:197] + `...",state="failed",step=""`, `
			# HELP image_cri_shim_agent_requested_info Requested configuration and version; always 1.
			# TYPE image_cri_shim_agent_requested_info gauge
			image_cri_shim_agent_requested_info{configuration="0123456789ab",version="v2"} 1
			`},
		"stale": {change(func(s *status.Status) { s.Updated = now.Add(-4 * time.Minute) }),
			nil, status.Stale, `reason="the status is stale: agent process 1 wrote it at 2023-11-14T22:09:20Z; kubectl logs of the pod shows why",state="stale",step=""`, ""},
		"removed": {change(func(s *status.Status) { s.State, s.Removed, s.Applied = status.Removed, true, nil }), nil, status.Removed, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(collector{version: "v2", status: c.status, err: c.err, now: now, scraped: true})
			want := "# HELP image_cri_shim_agent_state 1 for the current state, 0 for the others.\n# TYPE image_cri_shim_agent_state gauge\n"
			for _, s := range status.States {
				value := "0"
				if s == c.state {
					value = "1"
				}
				want += `image_cri_shim_agent_state{state="` + string(s) + `"} ` + value + "\n"
			}
			if c.unready != "" {
				want += "# HELP image_cri_shim_agent_unready_info Reason why the agent is not ready; 1 while it is not ready.\n# TYPE image_cri_shim_agent_unready_info gauge\n"
				want += "image_cri_shim_agent_unready_info{" + c.unready + "} 1\n"
			}
			names := []string{prefix + "_state", prefix + "_unready_info"}
			for _, line := range strings.Split(c.more, "\n") {
				if name, ok := strings.CutPrefix(strings.TrimSpace(line), "# TYPE "); ok {
					names = append(names, strings.Fields(name)[0])
				}
			}
			if err := testutil.GatherAndCompare(registry, strings.NewReader(want+c.more), names...); err != nil {
				t.Error(err)
			}
			if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
				t.Errorf("lint: %v, %v", problems, err)
			}
			if c.err != nil || c.status.Applied == nil {
				if count, err := testutil.GatherAndCount(registry, prefix+"_applied_info"); err != nil || count > 0 {
					t.Errorf("%d series of applied_info, %v, want none", count, err)
				}
			}
		})
	}
}

// TestLabels requires that a status with invalid text does not prevent a scrape.
func TestLabels(t *testing.T) {
	s := readyStatus(time.Now())
	s.State, s.Ready, s.Reason, s.Hash, s.Version = status.Failed, false, "a\xffb\x1b[2J\u202e", "\xff", "\xff"
	s.LookUp = &status.LookUp{Unreachable: []status.Registry{{Address: "\xff"}, {Address: ""}, {Address: "https://user:canary@hub"}}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector{status: s, now: time.Now()})
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	for _, family := range families {
		if strings.Contains(family.String(), "canary") {
			t.Errorf("found a password: %s", family)
		}
	}
}
