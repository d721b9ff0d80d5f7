# make help lists the targets. All targets except `make model` need only Go; see CONTRIBUTING.md.

FUZZTIME  ?= 20s
FUZZWIDTH ?= 1
BENCH     ?= .
BENCHTIME ?= 1s
PKG       ?= .
COUNT     ?= 1
BASE      ?= HEAD
DURATION  ?= 10m
SEED      ?= $(shell date +%s)
CHECK     ?=
WIDTH     ?=

# The modules below the library's, except tools/, which is a list of tools.
MODULES  := $(filter-out tools,$(patsubst %/go.mod,%,$(wildcard */go.mod */*/go.mod)))
EXAMPLES := $(filter examples/%,$(MODULES))
TOOL      = go tool -modfile=$(CURDIR)/tools/go.mod

# The race detector needs cgo and a C compiler.
RACE := $(shell test "$$(go env CGO_ENABLED)" = 1 && command -v $$(go env CC) >/dev/null && echo -race)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: modules
modules: ## list the modules that check, test and lint go through, beside the library
	@printf '%s\n' $(MODULES)

# Several test binaries at a time, because most tests wait: WIDTH of them, by default
# one more than there are processors. See tools/project/testall.
.PHONY: test
test: ## all tests, with the race detector; on real Redis servers where redis-server is on the PATH
	@test -n "$(RACE)" || echo "make test: no C compiler or CGO_ENABLED=0: testing WITHOUT the race detector"
	@command -v redis-server >/dev/null || echo "make test: no redis-server on the PATH: tests on a real Redis are skipped"
	go -C tools/project run ./testall $(RACE) $(if $(WIDTH),-width $(WIDTH)) -root $(CURDIR) $(MODULES)

.PHONY: servers
servers: ## the tests on Redis 7.0, Redis 8.0 and Valkey 8.1, with a table (Debian; gets the latter two into .servers/)
	tools/servers.sh test

.PHONY: lint
lint: ## golangci-lint with .golangci.yml (its first build takes minutes)
	@printf '%s\n' . $(MODULES) | xargs -P 2 -I DIR sh -c 'echo "golangci-lint in DIR" && \
	  cd DIR && $(TOOL) golangci-lint run --allow-parallel-runners --config $(CURDIR)/.golangci.yml ./...'

.PHONY: fmt
fmt: ## format everything with gofumpt
	$(TOOL) gofumpt -w .

.PHONY: check
check: ## formatting, go vet and go.mod of every module
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "not formatted (make fmt): $$unformatted"; exit 1; }
	@printf '%s\n' . $(MODULES) | xargs -P 2 -I DIR sh -c 'echo "check DIR" && go -C DIR vet ./... && go -C DIR mod tidy -diff'
	go -C tools mod tidy -diff

# A patch release has the language and the library of its minor release. A newer Go accepts code
# that the oldest supported Go refuses, so the oldest is tested too.
OLDEST := $(shell awk '$$1 == "go" {print $$2}' go.mod)
.PHONY: oldest
oldest: ## vet, Examples and golden files with the Go of go.mod's go line, where a newer one is installed
	@case $$(go env GOVERSION) in \
	go$(basename $(OLDEST))*) echo "$$(go env GOVERSION) is the oldest supported release: every other target tests it" ;; \
	*) set -ex; export GOTOOLCHAIN=go$(OLDEST); go vet ./...; go test -run 'Example|Golden' ./... ;; \
	esac

# The library alone: servers run on Unix only, and so do their tests.
.PHONY: portable
portable: ## build the library for other systems, and for 32 bits
	@set -e; for target in linux/386 linux/arm windows/amd64 darwin/arm64; do \
	  echo "go build for $$target"; \
	  CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build . ./fncachetest; \
	done

.PHONY: examples
examples: ## run the examples
	@set -e; for dir in $(EXAMPLES); do \
	  case $$dir in */bookstore) args=-quick;; *) args=;; esac; \
	  echo "go -C $$dir run . $$args"; \
	  go -C $$dir run . $$args; \
	done

# DECLARES finds the packages of some modules with a test function whose name begins so.
DECLARES = for module in $(2); do go list -C $$module -f '{{.Dir}}{{range .TestGoFiles}} {{.}}{{end}}{{range .XTestGoFiles}} {{.}}{{end}}' ./...; done | \
  while read -r dir files; do \
    for file in $$files; do if grep -q '^func $(1)' $$dir/$$file; then echo $$dir; break; fi; done; \
  done

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME, FUZZWIDTH of them at once
	@for dir in $$($(call DECLARES,Fuzz,. $(MODULES))); do \
	  sed -n "s,^func \(Fuzz[A-Za-z0-9_]*\)(.*,$$dir \1,p" $$dir/*_test.go; \
	done | xargs -P $(FUZZWIDTH) -L 1 sh -c 'echo "fuzz $$2 for $(FUZZTIME)" && \
	  go -C $$1 test -run "^$$" -fuzz "^$$2\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s .' fuzz

.PHONY: bench
bench: ## the benchmarks BENCH, COUNT times for BENCHTIME each
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(COUNT) $$($(call DECLARES,Benchmark,.))

.PHONY: compare
compare: ## the benchmarks BENCH of the package PKG at the commit BASE and here, COUNT times in turns, with benchstat
	tools/compare.sh '$(BASE)' '$(BENCH)' '$(COUNT)' '$(BENCHTIME)' '$(PKG)'

# Two runs: recording every allocation takes half of the time.
.PHONY: profile
profile: ## time and allocations of the benchmarks BENCH of the package PKG, by function
	@dir=$$(mktemp -d) && trap 'rm -rf $$dir' EXIT && go test -c -o $$dir/bench.test $(PKG) && cd $(PKG) && \
	run="$$dir/bench.test -test.run ^$$ -test.bench $(BENCH) -test.benchmem -test.benchtime $(BENCHTIME)" && \
	$$run -test.cpuprofile $$dir/cpu && \
	$$run -test.memprofile $$dir/mem -test.memprofilerate 1 >/dev/null && \
	go tool pprof -top -cum -nodecount 50 $$dir/cpu && \
	go tool pprof -top -sample_index alloc_objects -nodecount 30 $$dir/mem

.PHONY: soak
soak: ## random histories of a fleet, checked, for DURATION, from SEED on (both printed); or CHECK=DIR, records that were kept
	go -C history test $(RACE) -count=1 -timeout 0 -v -run '^TestHistories$$' . -args $(if $(CHECK),-check $(abspath $(CHECK)),-duration $(DURATION) -seed $(SEED))

.PHONY: model
model: ## the model of the lease protocol, with spin (needs Debian's spin and gcc); MODEL=deep for minutes
	docs/protocol/check.sh $(MODEL)

# The plots in the documentation come from `make peers load callers`. CATALOG is a CSV file with
# a column ratings_count; without it the popularity is a built-in one.
PEERSFLAGS ?= -out ../docs/bench
LOADFLAGS  ?= -out ../docs/bench
CALLERSFLAGS  ?= -out ../docs/bench
OVERLOADFLAGS ?=
CATALOG    ?=
CATALOGFLAG = $(if $(CATALOG),-catalog $(abspath $(CATALOG)))

.PHONY: peers
peers: ## fncache beside its peers, minutes long; PEERSFLAGS=-quick is a smoke test of seconds
	go -C bench run . $(CATALOGFLAG) $(PEERSFLAGS)

.PHONY: load
load: ## fncache and go-redis/cache while Redis is stopped; fails if an aim is missed; LOADFLAGS=-quick is a smoke test of seconds
	go -C bench run ./load $(CATALOGFLAG) $(LOADFLAGS)

.PHONY: callers
callers: ## the cost of a hit in Redis from 1 to 1,024 callers, minutes long; CALLERSFLAGS=-strict fails if an aim is missed, CALLERSFLAGS=-quick is a smoke test of seconds
	go -C bench run ./callers $(CALLERSFLAGS)

.PHONY: overload
overload: ## overloaded processes while Redis is healthy: minutes long; fails if an aim is missed; OVERLOADFLAGS=-quick is a smaller load
	go -C bench run ./overload $(OVERLOADFLAGS)

.PHONY: cover
cover: ## which lines the tests reach, as a page: cover.html
	go test -coverprofile=cover.out -coverpkg=./... ./...
	go tool cover -html=cover.out -o cover.html
