# Main targets: build, demo (run the shim on a test node), test, lint, packages, image, and
# bounds and bench (measurements). For the others, see the comments below.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
PREFIX  ?= /usr
BINARY  ?= bin/image-cri-shim
AGENT   ?= bin/image-cri-shim-agent
PLUGIN  ?= bin/kubectl-image_cri_shim
DIST    ?= dist
FUZZTIME ?= 10s
FUZZTIME_RELAY ?= 60s
CONTAINERD_2 ?= v2.4.2
variables = -X image-cri-shim/version.Version=$(VERSION) -X image-cri-shim/version.Commit=$(COMMIT) -X image-cri-shim/version.Date=$(DATE)

# The modules to lint and to check for vulnerabilities. The cluster's components are left out,
# because both checks would compile all of Kubernetes.
modules = . agent kubectl e2e e2e/critest e2e/cluster bench packaging/chart packaging/image

# End-to-end tests that do not depend on containerd.
without_containerd = ^Test(.*ThatFlood$$|AgentService|Package|Page|SBOM|Units|Example|PullDuringARestart|(Restarts|Upgrades|Reloads|Killed)UnderLoad)|/^embedded$$|//^embedded$$|///^embedded$$

endurance = ^Test(.*ThatFlood|.*UnderLoad|PackageService.*)$$

# The tests with foreign gRPC libraries that `make test` runs. The others take minutes.
peers = ^Test(Calls|Curl|DefaultWindows)$$

# The race detector needs a C compiler. The variable is evaluated when a recipe runs, because
# the recipe may install one.
race = $$(command -v gcc >/dev/null && echo -race || echo 'no gcc: without the race detector' >&2)

.PHONY: build build-agent kubectl-plugin image chart demo bounds load bench screenshots test test-endurance test-peers containerd-2 cluster-components test-cluster kwok test-scale test-containerd-2 test-critest test-model test-grpc-engine differential lint vulncheck fuzz clean install packages generated
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w $(variables)' -o $(BINARY) .

# The agent that installs the shim on the nodes of a cluster.
build-agent:
	cd agent && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w $(variables)' -o $(abspath $(AGENT)) .

# The plugin of kubectl. PLATFORMS="darwin/arm64 windows/amd64" builds it for other machines, in
# bin/kubectl/OS-ARCHITECTURE.
kubectl-plugin:
	cd kubectl && for platform in $(or $(PLATFORMS),this); do \
	  output=$(abspath $(PLUGIN)); \
	  if [[ $$platform != this ]]; then \
	    export GOOS=$${platform%/*} GOARCH=$${platform#*/}; \
	    output=$(CURDIR)/bin/kubectl/$$GOOS-$$GOARCH/kubectl-image_cri_shim; [[ $$GOOS != windows ]] || output+=.exe; \
	  fi; \
	  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w $(variables)' -o "$$output" .; \
	done

# If the real components can't be installed, the demo uses an embedded runtime.
demo: build
	-e2e/install-components demo
	cd e2e && go run ./demo --shim ../bin/image-cri-shim

# Measures the bounds that the documentation promises for failing registries and many pulls.
bounds: build
	cd e2e && go run ./bounds --shim ../bin/image-cri-shim

# Simulates the load of a registry by many nodes (registry/fleet_test.go) and
# prints the figures in docs/fleet.md. It takes minutes; `make test` runs it with 40 nodes.
FLEET_NODES ?= 10000
load:
	FLEET_NODES=$(FLEET_NODES) go test -count=1 -timeout 60m -run '^TestFleet$$' -v ./registry

test:
	e2e/install-components
	go test $(race) ./...
	cd e2e && go test $(race) -count=1 -timeout 20m -skip '$(endurance)' $$(go list ./... | grep -v '/foreign$$')
	cd e2e && go test $(race) -count=1 -run '$(peers)' ./foreign
	cd e2e/critest && CGO_ENABLED=0 go test -count=1 -skip '^TestCritest$$' ./...
	cd bench && go test $(race) ./...
	cd agent && go test $(race) ./...
	cd kubectl && CGO_ENABLED=0 go test ./...
	cd packaging/image && CGO_ENABLED=0 go test ./...
	cd packaging/chart && CGO_ENABLED=0 go test ./...

# The slow end-to-end tests: floods from clients, registries and runtimes, restarts and
# upgrades under load, and packages on a machine with a real systemd.
test-endurance:
	e2e/install-components
	cd e2e && go test $(race) -count=1 -timeout 60m -run '$(endurance)' $(if $(SKIP),-skip '$(SKIP)') .

# The tests with clients and runtimes on other gRPC libraries than grpc-go that `make test`
# skips. They run without the race detector, because many depend on the timing of the peers.
test-peers:
	e2e/install-components
	cd e2e && go test -count=1 -timeout 20m -skip '$(peers)' ./foreign

# A current containerd, for tests that use it instead of Debian's or in addition to it.
containerd_2 = $(CURDIR)/bin/containerd-2
containerd-2:
	GOBIN=$(containerd_2) go install github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}@$(CONTAINERD_2)

# The end-to-end tests that depend on containerd, with a current version instead of Debian's.
test-containerd-2: containerd-2
	e2e/install-components
	cd e2e && PATH=$(containerd_2):$$PATH go test $(race) -count=1 -timeout 20m -skip '$(without_containerd)' .
	cd e2e/critest && PATH=$(containerd_2):$$PATH CGO_ENABLED=0 go test -count=1 -run '^TestCrictl$$' .

# Kubernetes' components, etcd and Helm, for the tests on a cluster. Kubernetes takes six
# minutes with a cold build cache.
HELM ?= 3
HELM_3 ?= v3.22.0
HELM_4 ?= v4.3.2
cluster_bin = $(CURDIR)/bin/cluster
cluster-components:
	e2e/install-components cluster $(cluster_bin)
	cd e2e/cluster/components && version=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes) && minor=$${version#v1.} && \
	  set=$$(printf -- ' -X %s' {k8s.io/component-base/version,k8s.io/client-go/pkg/version}.{gitVersion=$$version,gitMajor=1,gitMinor=$${minor%%.*}}) && \
	  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w$$set" -o $(cluster_bin)/components .
	cd / && CGO_ENABLED=0 GOBIN=$(cluster_bin)/helm-$(HELM) go install -trimpath -ldflags '-s -w' helm.sh/helm/v$(HELM)/cmd/helm@$(HELM_$(HELM))

# The agent and the chart on a cluster of two nodes, with Helm 3, or 4 with HELM=4. RUN selects
# tests. The tests upgrade the first version to the second one.
test-cluster: cluster-components
	$(MAKE) --no-print-directory kubectl-plugin PLUGIN=$(cluster_bin)/kubectl-image_cri_shim PLATFORMS=
	for version in v0.1.0 v0.2.0; do \
	  $(MAKE) --no-print-directory image chart VERSION=$$version ARCHITECTURES=$$(go env GOARCH) DIST=$(cluster_bin)/$$version; \
	done
	cd e2e/cluster && HELM=$(HELM) CLUSTER_BIN=$(cluster_bin) CGO_ENABLED=0 go test -trimpath -count=1 -timeout 30m -v $(if $(RUN),-run '$(RUN)') .

# kwok, which simulates nodes. It takes minutes with a cold build cache.
KWOK ?= v0.8.0
kwok:
	cd / && CGO_ENABLED=0 GOBIN=$(cluster_bin) go install -trimpath -ldflags '-s -w' sigs.k8s.io/kwok/cmd/kwok@$(KWOK)

# The agent and the chart on FLEET_NODES (1000) simulated nodes and a real one, and WATCHES
# (10000) agents that watch the configuration. Takes an hour; not part of CI. The log has the
# figures in docs/fleet.md in lines with "measured" and "computed". RUN selects tests.
test-scale: cluster-components kwok
	$(MAKE) --no-print-directory kubectl-plugin PLUGIN=$(cluster_bin)/kubectl-image_cri_shim PLATFORMS=
	$(MAKE) --no-print-directory image chart VERSION=v0.2.0 ARCHITECTURES=$$(go env GOARCH) DIST=$(cluster_bin)/v0.2.0
	cd e2e/cluster && CLUSTER_BIN=$(cluster_bin) CGO_ENABLED=0 go test -trimpath -count=1 -timeout 3h -v $(if $(RUN),-run '$(RUN)') ./scale

# The CRI conformance suite on containerd 1.6 (Debian's) and 2.4. It runs against containerd
# directly (direct), through a shim that rewrites nothing (unchanged), and with every image
# under another name (renamed). The same specs must pass, fail and be skipped in all runs.
# CRITEST selects runs, for example 2.4/renamed; the direct run is always included for
# comparison.
test-critest: containerd-2
	e2e/install-components
	cd e2e/critest && CONTAINERD_2_BIN=$(containerd_2) CGO_ENABLED=0 go test -count=1 -timeout 60m -v -run '^TestCritest$$/$(CRITEST)' .

# Random calls with and without the shim, mixed with other clients, outages and restarts. The
# answers and the images in containerd are compared. A failure shows the seed, which
# MODEL_SEED replays. `make test` and `make test-containerd-2` run 2000 steps each.
MODEL_STEPS ?= 10000
test-model: containerd-2
	e2e/install-components
	cd e2e && MODEL_STEPS=$(MODEL_STEPS) go test -count=1 -timeout 60m -run '^TestModel$$' -v .
	cd e2e && PATH=$(containerd_2):$$PATH MODEL_STEPS=$(MODEL_STEPS) go test -count=1 -timeout 60m -run '^TestModel$$' -v .

# The end-to-end tests with the engine that is not the default. Tests that do not depend on
# the engine, such as those of registries, packages and the doctor, and tests that use both
# engines are skipped.
test-grpc-engine:
	e2e/install-components
	cd e2e && SHIM_ENGINE=grpc MODEL_STEPS=300 go test $(race) -count=1 -timeout 20m -skip '^Test(.*ThatFlood$$|AgentService|Faults|Doctor|HostsForms|Package|Page|SBOM|Units|Example|Passwords|TokenServer|EveryRegistry|.*AgentImage$$)' .

# Random calls directly and through both engines. The results at the client are compared. The
# test shows how to replay a difference.
differential:
	DIFFERENTIAL_CALLS=100000 go test -count=1 -timeout 30m -run '^TestDifferential$$' -v ./proxy

# Takes about six minutes, or less than one with BENCH=quick, which only checks that the
# benchmark works.
bench:
	bench/install-contenders
	cd bench && go run . $(if $(BENCH),--$(BENCH))

# Creates the screenshots in docs/page.md from a node in the test bed.
screenshots:
	cd e2e && PAGE_SCREENSHOTS=$(CURDIR)/docs go test -count=1 -run '^TestPageScreenshots$$' .

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	@for module in $(modules); do (set -x; cd $$module && go vet ./... && go tool -modfile=$(CURDIR)/go.mod staticcheck ./...); done

# Fails on known vulnerabilities in the modules. If the vulnerability database is unavailable,
# a message is printed and the target succeeds.
VULNDB ?= https://vuln.go.dev
vulncheck:
	@for module in $(modules); do \
	  status=0; \
	  said=$$(cd $$module && go tool -modfile=$(CURDIR)/packaging/tools/go.mod govulncheck -tags tools -db $(VULNDB) ./... 2>&1) || status=$$?; \
	  echo "$$module: $$said"; \
	  [[ $$status == 0 || $$said == *'fetching vulnerabilities'* ]] || exit 1; \
	done

# Runs each fuzz target for FUZZTIME, and that of the frame relay for FUZZTIME_RELAY, one
# target on each processor. `make test` runs the seeds.
fuzz:
	@fuzz() { \
	  time=$(FUZZTIME); [[ $$2 == FuzzRelay ]] && time=$(FUZZTIME_RELAY); \
	  output=$$(cd $$1 && go test -run '^$$' -fuzz "^$$2$$" -fuzztime $$time -fuzzminimizetime 1s -parallel 1 . 2>&1) && failed= || failed=1; \
	  printf '%s %s\n%s\n' "$$1" "$$2" "$$output"; [[ ! $$failed ]]; \
	}; export -f fuzz; \
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z]*' . | sed 's|/[^/]*:func | |' | sort -r -k 2 | xargs -P $$(nproc) -n 2 bash -c 'fuzz "$$@"' bash

# Builds deb, rpm, tar.gz and SBOM for amd64 and arm64, and the chart, with checksums, in dist.
packages:
	VERSION=$(VERSION) DATE=$(DATE) packaging/build dist

# Packs the Helm chart in DIST, with remove.yaml beside it.
chart:
	VERSION=$(VERSION) DATE=$(DATE) packaging/build-chart $(DIST)

# Builds the container image of the agent: a folder in the OCI image layout and a tar of it, in
# DIST. PUSH=registry/repository[:tag] also pushes it, with the credentials of `docker login`.
# PLAIN_HTTP=1 permits a registry without TLS, which is otherwise permitted only on loopback.
ARCHITECTURES ?= amd64 arm64
image:
	mkdir -p $(DIST)
	for architecture in $(ARCHITECTURES); do \
	  GOOS=linux GOARCH=$$architecture $(MAKE) --no-print-directory build build-agent \
	    BINARY=bin/image/$$architecture/image-cri-shim AGENT=bin/image/$$architecture/image-cri-shim-agent \
	    VERSION=$(VERSION) COMMIT=$(COMMIT) DATE=$(DATE); \
	done
	@cd packaging/image && CGO_ENABLED=0 go run -trimpath . --binaries $(CURDIR)/bin/image --license $(CURDIR)/LICENSE \
	  --version $(VERSION) --revision '$(COMMIT)' --created $(DATE) --output $(abspath $(DIST)) \
	  $(if $(PUSH),--push '$(PUSH)') $(if $(PLAIN_HTTP),--plain-http) $(ARCHITECTURES)

# The manual page and the completions, as the program prints them, in GENERATED.
GENERATED ?= bin/generated
PROGRAM ?= go run -buildvcs=false .
generated:
	mkdir -p $(GENERATED)
	$(PROGRAM) man | gzip -9n >$(GENERATED)/image-cri-shim.1.gz
	for shell in bash zsh fish; do $(PROGRAM) completion $$shell >$(GENERATED)/image-cri-shim.$$shell; done

clean:
	rm -rf bin dist

# Run as root after `make build`. It does not build, because root may have no Go.
install:
	@test -x bin/image-cri-shim || { echo 'run make build first'; exit 1; }
	$(MAKE) --no-print-directory generated PROGRAM=bin/image-cri-shim
	install -D -m 0755 bin/image-cri-shim $(DESTDIR)$(PREFIX)/bin/image-cri-shim
	install -D -m 0644 -t $(DESTDIR)/lib/systemd/system packaging/image-cri-shim.s*
	test -e $(DESTDIR)/etc/image-cri-shim.yaml || install -D -m 0600 packaging/image-cri-shim.yaml $(DESTDIR)/etc/image-cri-shim.yaml
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim README*.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim/docs docs/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim/bench bench/README.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim/bench/results bench/results/*.*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim/packaging packaging/image-cri-shim.yaml
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man1 bin/generated/image-cri-shim.1.gz
	install -D -m 0644 bin/generated/image-cri-shim.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/image-cri-shim
	install -D -m 0644 bin/generated/image-cri-shim.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_image-cri-shim
	install -D -m 0644 bin/generated/image-cri-shim.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/image-cri-shim.fish
