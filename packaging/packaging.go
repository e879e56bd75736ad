// Package packaging contains the systemd units of the packages.
package packaging

import _ "embed"

// Service is the unit image-cri-shim.service.
//
//go:embed image-cri-shim.service
var Service string

// Socket is the unit image-cri-shim.socket.
//
//go:embed image-cri-shim.socket
var Socket string
