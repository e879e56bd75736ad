package cluster

// ConfigurationLabel marks the objects that belong to an agent's DaemonSet and that Helm does
// not delete: the Secrets with its configurations and the DaemonSet that removes the shim. The
// value is the name of the agent's DaemonSet. The chart sets it.
const ConfigurationLabel = "image-cri-shim.io/daemonset"

// removalSuffix follows the name of the agent's DaemonSet in the name of the DaemonSet that
// removes the shim.
const removalSuffix = "-remove"
