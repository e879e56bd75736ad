// Package chart contains the tests of the Helm chart in the folder image-cri-shim. They render
// it with Helm's engine and decode the objects into the types of the Kubernetes API.
package chart
