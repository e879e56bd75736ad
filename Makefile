# `make demo` shows the shim at work, `make test` tests it, `make bounds` and
# `make bench` measure it, `make lint` reads it, `make packages` packs it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
PREFIX  ?= /usr
BINARY  ?= bin/image-cri-shim
FUZZTIME ?= 10s
FUZZTIME_RELAY ?= 60s
CONTAINERD_2 ?= v2.4.2
variables = -X image-cri-shim/version.Version=$(VERSION) -X image-cri-shim/version.Commit=$(COMMIT) -X image-cri-shim/version.Date=$(DATE)

# The end-to-end tests that would be the same without containerd.
without_containerd = ^Test(.*ThatFlood$$|Package|Page|SBOM|Units|Example|PullDuringARestart|(Restarts|Upgrades|Reloads|Killed)UnderLoad)|/^embedded$$|//^embedded$$|///^embedded$$

endurance = ^Test(.*ThatFlood|.*UnderLoad|PackageService.*)$$

# The tests of foreign gRPC peers that `make test` runs; the others take minutes.
peers = ^Test(Calls|Curl|DefaultWindows)$$

# The race detector needs a C compiler, which may have to be installed first.
race = $$(command -v gcc >/dev/null && echo -race || echo 'no gcc: without the race detector' >&2)

.PHONY: build demo bounds bench screenshots test test-endurance test-peers containerd-2 test-containerd-2 test-critest test-model test-grpc-engine differential lint vulncheck fuzz clean install packages
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w $(variables)' -o $(BINARY) .

# Without the real components the demo has an embedded runtime.
demo: build
	-e2e/install-components
	cd e2e && go run ./demo --shim ../bin/image-cri-shim

# Measures what the shim promises about failing registries and many pulls.
bounds: build
	cd e2e && go run ./bounds --shim ../bin/image-cri-shim

test:
	e2e/install-components
	go test $(race) ./...
	cd e2e && go test $(race) -count=1 -timeout 20m -skip '$(endurance)' $$(go list ./... | grep -v '/foreign$$')
	cd e2e && go test $(race) -count=1 -run '$(peers)' ./foreign
	cd e2e/critest && CGO_ENABLED=0 go test -count=1 -skip '^TestCritest$$' ./...
	cd bench && go test $(race) ./...

# The end-to-end tests that take long: clients, registries and runtimes that flood, restarts
# and upgrades under load, packages on a machine with a real systemd.
test-endurance:
	e2e/install-components
	cd e2e && go test $(race) -count=1 -run '$(endurance)' .

# Clients and runtimes on other gRPC libraries than Go's: what `make test` leaves out. Much of
# it is timed by the peers: the race detector, which `make test` has, would slow it down.
test-peers:
	e2e/install-components
	cd e2e && go test -count=1 -timeout 20m -skip '$(peers)' ./foreign

# A containerd of today, for the tests that run on it instead of Debian's or beside it.
containerd_2 = $(CURDIR)/bin/containerd-2
containerd-2:
	GOBIN=$(containerd_2) go install github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}@$(CONTAINERD_2)

# The end-to-end tests again, on a containerd of today instead of Debian's, but for what
# has no part of its own in it.
test-containerd-2: containerd-2
	e2e/install-components
	cd e2e && PATH=$(containerd_2):$$PATH go test $(race) -count=1 -timeout 20m -skip '$(without_containerd)' .
	cd e2e/critest && PATH=$(containerd_2):$$PATH CGO_ENABLED=0 go test -count=1 -run '^TestCrictl$$' .

# The CRI conformance suite on containerd 1.6 (Debian's) and 2.4, each directly, through a
# shim that rewrites nothing (unchanged), and with every image under another name (renamed):
# the same specs must pass, fail and be skipped. CRITEST selects runs, 2.4/renamed: what a
# run is compared with, the direct one, runs too.
test-critest: containerd-2
	e2e/install-components
	cd e2e/critest && CONTAINERD_2_BIN=$(containerd_2) CGO_ENABLED=0 go test -count=1 -timeout 60m -v -run '^TestCritest$$/$(CRITEST)' .

# Random calls with the shim and without it, mixed with other clients, outages and restarts:
# what clients see and what containerd has is compared. A failure names the seed that
# MODEL_SEED replays. `make test` and `make test-containerd-2` take 2000 steps each.
MODEL_STEPS ?= 10000
test-model: containerd-2
	e2e/install-components
	cd e2e && MODEL_STEPS=$(MODEL_STEPS) go test -count=1 -timeout 60m -run '^TestModel$$' -v .
	cd e2e && PATH=$(containerd_2):$$PATH MODEL_STEPS=$(MODEL_STEPS) go test -count=1 -timeout 60m -run '^TestModel$$' -v .

# The end-to-end tests again, through the engine that is not the default, but for what
# no engine has a part in, registries' faults, packages, the doctor, and what runs on both.
test-grpc-engine:
	e2e/install-components
	cd e2e && SHIM_ENGINE=grpc MODEL_STEPS=300 go test $(race) -count=1 -timeout 20m -skip '^Test(.*ThatFlood$$|Faults|Doctor|HostsForms|Package|Page|SBOM|Units|Example|Passwords|TokenServer|EveryRegistry)' .

# Random calls directly and through both engines: what the client sees is compared.
# The test names what replays a difference.
differential:
	DIFFERENTIAL_CALLS=100000 go test -count=1 -timeout 30m -run '^TestDifferential$$' -v ./proxy

# About six minutes; with BENCH=quick less than one, to see that all works.
bench:
	bench/install-contenders
	cd bench && go run . $(if $(BENCH),--$(BENCH))

# The pictures in docs/page.md, of a node in the test bed.
screenshots:
	cd e2e && PAGE_SCREENSHOTS=$(CURDIR)/docs go test -count=1 -run '^TestPageScreenshots$$' .

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	cd e2e && go vet ./...
	cd e2e && go tool -modfile=../go.mod staticcheck ./...
	cd e2e/critest && go vet ./...
	cd e2e/critest && go tool -modfile=../../go.mod staticcheck ./...
	cd bench && go vet ./...
	cd bench && go tool -modfile=../go.mod staticcheck ./...

# The known vulnerabilities of what is built and tested here fail it; that their database
# can't be had is only said.
VULNDB ?= https://vuln.go.dev
vulncheck:
	@for module in . e2e e2e/critest bench; do \
	  status=0; \
	  said=$$(cd $$module && go tool -modfile=$(CURDIR)/packaging/tools/go.mod govulncheck -tags tools -db $(VULNDB) ./... 2>&1) || status=$$?; \
	  echo "$$module: $$said"; \
	  [[ $$status == 0 || $$said == *'fetching vulnerabilities'* ]] || exit 1; \
	done

# Each fuzz target for a short while, the one of the frame relay longer, one on each
# processor; the seeds run with `make test` too.
fuzz:
	@fuzz() { \
	  time=$(FUZZTIME); [[ $$2 == FuzzRelay ]] && time=$(FUZZTIME_RELAY); \
	  output=$$(go test -run '^$$' -fuzz "^$$2$$" -fuzztime $$time -fuzzminimizetime 1s -parallel 1 $$1 2>&1) && failed= || failed=1; \
	  printf '%s %s\n%s\n' "$$1" "$$2" "$$output"; [[ ! $$failed ]]; \
	}; export -f fuzz; \
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z]*' . | sed 's|/[^/]*:func | |' | sort -r -k 2 | xargs -P $$(nproc) -n 2 bash -c 'fuzz "$$@"' bash

# deb, rpm, tar.gz and SBOM for amd64 and arm64, with their checksums, in dist.
packages:
	VERSION=$(VERSION) DATE=$(DATE) packaging/build dist

clean:
	rm -rf bin dist

# As root, after `make build`: root may have no Go.
install:
	@test -x bin/image-cri-shim || { echo 'run make build first'; exit 1; }
	install -D -m 0755 bin/image-cri-shim $(DESTDIR)$(PREFIX)/bin/image-cri-shim
	install -D -m 0644 -t $(DESTDIR)/lib/systemd/system packaging/image-cri-shim.s*
	test -e $(DESTDIR)/etc/image-cri-shim.yaml || install -D -m 0600 packaging/image-cri-shim.yaml $(DESTDIR)/etc/image-cri-shim.yaml
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim README*.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/image-cri-shim/docs docs/*
