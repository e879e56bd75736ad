package hosts

import "slices"

// public lists the registries that publicly serve images of many owners, and the caches in
// front of them. Most of them let any user register a namespace.
var public = []string{
	"docker.io", "registry.hub.docker.com", "quay.io", "ghcr.io", "docker.pkg.github.com",
	"gcr.io", "*.gcr.io", "*-docker.pkg.dev", "registry.k8s.io", "mcr.microsoft.com", "public.ecr.aws",
	"registry.gitlab.com", "codeberg.org", "ttl.sh", "nvcr.io", "lscr.io", "cgr.dev", "icr.io", "*.icr.io",
	"docker.elastic.co", "container-registry.oracle.com", "registry.suse.com", "registry.opensuse.org",
	"registry.redhat.io", "registry.access.redhat.com", "registry.connect.redhat.com", "registry.fedoraproject.org",
	"registry.*.aliyuncs.com", "registry-vpc.*.aliyuncs.com", "ccr.ccs.tencentyun.com", "swr.*.myhuaweicloud.com",
}

// IsPublic reports whether a canonical host is one of the known public registries.
func IsPublic(host string) bool {
	return slices.ContainsFunc(public, func(pattern string) bool { return matches(pattern, host) })
}
