// Package cluster reads and changes the objects of the chart's release through the apiserver:
// it watches the configuration, deletes Secrets with old configurations, and waits until the
// shim is removed from all nodes.
package cluster
