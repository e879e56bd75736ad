package metrics

import "github.com/prometheus/client_golang/prometheus"

// prefix is the beginning of the names of the agent's metrics. The shim has none of them.
const prefix = "image_cri_shim_agent"

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+"_"+name, help, labels, nil)
}

var (
	buildInfo      = describe("build_info", "Version of the agent, and of the shim that it installs; always 1.", "version")
	requestedInfo  = describe("requested_info", "Requested configuration and version; always 1.", "configuration", "version")
	appliedInfo    = describe("applied_info", "Configuration and version that were applied last; always 1.", "configuration", "version")
	state          = describe("state", "1 for the current state, 0 for the others.", "state")
	unreadyInfo    = describe("unready_info", "Reason why the agent is not ready; 1 while it is not ready.", "state", "step", "reason")
	drift          = describe("drift_total", "Checks of the node that found and repaired differences.")
	failedAttempts = describe("failed_attempts", "Failed attempts in succession to apply a configuration.")
	connected      = describe("kubelet_connected", "1 if kubelet is connected through the shim.")
	restarts       = describe("kubelet_restarts", "Restarts of kubelet by the agent within the last hour.")
	doctorFailures = describe("doctor_failures", "Failures that the doctor found on the node.")
	unreachable    = describe("registry_unreachable", "1 for each registry that the last look-up could not use.", "registry")
	timestamp      = describe("status_timestamp_seconds", "Time of the agent's last report.")
	shimScraped    = describe("shim_scraped", "1 if the metrics of the shim are part of this response.")
)
