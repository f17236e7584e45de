# Everything is a target here; `make` lists them. Needs Go and nothing else
# (race needs a C compiler, image/up/down/compose need Docker).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO         ?= go
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
SIM_FOR    ?= 40s
SIM_FROM   ?= 0
SIM_MOST   ?= 0
SIM_CI_FOR ?= 240s
FUZZ_FOR   ?= 10s
DEMO_FOR   ?= 60s
MUTANTS_MOST ?= 0
CHAOS_FOR  ?= 120s
CHAOS_SEED ?= 0
CHAOS_ONLY ?=
CHAOS_REQUIRE ?=
CHAOS_RETENTION ?= auto
OVERLOAD_FOR ?= 30s
KILLS      ?= 50
MIXED_SEED ?= 0
BENCH_SCALE ?= 1
BENCH_REPS ?= 1
BENCH_ONLY ?=
BENCH_PAGE ?= docs/performance.md
PEERS      ?=
PEERS_ONLY ?=
PEERS_REPS ?= 3
BASE       ?= main
MICRO_COUNT ?= 6
MICRO_BENCH ?= .
MICRO_TIME ?= 1s
MICRO_PKGS ?= ./pkg/...
RUNS       ?= 10
COUNT      ?= 1
IMAGE      ?= ledgermq
COMPOSE    ?= docker-compose

export GOTOOLCHAIN := local
# Without cgo nothing needs a C compiler and nothing waits for one; only the race
# detector cannot do without.
export CGO_ENABLED := 0
# Property tests draw the same cases each time, as the simulator does in ci: a gate is a
# function of the change. New cases are for make properties.
RAPID_SEED ?= 1
export RAPID_SEED

GOFUMPT     = $(GO) tool -modfile=tools/lint/go.mod gofumpt
STATICCHECK = $(GO) tool -modfile=tools/lint/go.mod staticcheck
BUF         = $(GO) tool -modfile=tools/buf/go.mod buf
# Tests that start processes have the machine to themselves.
PROCESSES   = /test/(bench|chaos|cluster|compose|e2e|mixed|overload)
SOURCES     = $(shell find cmd pkg test tools -name '*.go' ! -name '*.pb.go')

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 14

.PHONY: build
build: ## static binaries broker, producer, consumer into bin/
	$(GO) build $(TRIMPATH) -ldflags '-s -w -X github.com/ledgermq/ledgermq/cmd/internal/cli.version=$(VERSION)' -o bin/ ./cmd/broker ./cmd/producer ./cmd/consumer

.PHONY: gen
gen: ## generated protobuf code from proto/**/*.proto
	$(GO) -C tools/protogen run . ../..

.PHONY: fmt
fmt: ## format all Go code
	$(GOFUMPT) -w $(SOURCES)

.PHONY: lint
lint: ## gofumpt is clean, go vet, staticcheck
	@unformatted=$$($(GOFUMPT) -l $(SOURCES)); \
	if [ -n "$$unformatted" ]; then echo "not formatted (run make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...

.PHONY: test
# Three packages at a time: most of what they do is wait, for elections and for disks.
test: build ## every package, every kind of test in its short form (under 3 minutes on 2 cores)
	$(GO) test -p 3 -vet=off -short -count=$(COUNT) $$($(GO) list ./... | grep -vE '$(PROCESSES)')
	PROGRAMS=$(CURDIR)/bin $(GO) test -vet=off -short -count=$(COUNT) -p 1 $$($(GO) list ./... | grep -E '$(PROCESSES)')

.PHONY: race
race: ## the short tests of the packages with goroutines, under the race detector
	CGO_ENABLED=1 $(GO) test -race -short -count=$(COUNT) ./pkg/... ./cmd/...

.PHONY: properties
properties: RAPID_SEED = 0
properties: ## the property tests on fresh cases, 100 times as many as in test
	RAPID_CHECKS=10000 $(GO) test -short -count=1 $$(grep -rl 'rapid\.Check' --include='*_test.go' cmd pkg | xargs -n1 dirname | sort -u | sed 's,^,./,')

.PHONY: sim
sim: ## the simulator for SIM_FOR (40s), on fresh seeds or from SIM_FROM
	@$(GO) test -c -o bin/sim.test ./test/sim
	@cd test/sim && ../../bin/sim.test -sim.for $(SIM_FOR) -sim.from $(SIM_FROM) -sim.most $(SIM_MOST)

.PHONY: exhaustive
exhaustive: ## everything that can happen to three members within some moves
	$(GO) test -count=1 -v -run 'TestExhaustive' ./test/sim

.PHONY: mutants
mutants: ## break the rules one by one; each must turn a test red; none is begun after MUTANTS_MOST (0: all are)
	@$(GO) test -c -o bin/sim.test ./test/sim
	@cd test/sim && ../../bin/sim.test -mutants -mutants.most $(MUTANTS_MOST)

.PHONY: crash
crash: ## every crash image and every bit flip of the commit log, in their long form
	LEDGERMQ_LONG=1 $(GO) test -count=1 -timeout 20m ./pkg/commitlog/...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_FOR (10s) each
	@grep -rlE '^func Fuzz' --include='*_test.go' pkg cmd test | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | sed 's/^func //'); do \
			echo "fuzz ./$$dir $$target"; \
			$(GO) test "./$$dir" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_FOR); \
		done; \
	done

.PHONY: e2e
e2e: build ## real processes: a million lines while leaders are killed and paused; bad input
	PROGRAMS=$(CURDIR)/bin $(GO) test -count=1 -v -timeout 20m ./test/e2e

.PHONY: failover
failover: build ## measure the longest gap between two acks over RUNS (10) failovers of each kind
	PROGRAMS=$(CURDIR)/bin $(GO) test -count=1 -v -timeout 30m ./test/e2e/failover -runs $(RUNS)

.PHONY: chaos
chaos: build ## break real brokers, disks and networks for CHAOS_FOR (120s); what needs root and is not there is skipped aloud
	@$(GO) test -c -o bin/chaos.test ./test/chaos
	@cd test/chaos && PROGRAMS=$(CURDIR)/bin ../../bin/chaos.test -test.v -test.run '^(TestPageCacheLoses|TestChaos)$$' -test.timeout 0 -chaos.for $(CHAOS_FOR) -chaos.seed $(CHAOS_SEED) -chaos.only '$(CHAOS_ONLY)' -chaos.retention $(CHAOS_RETENTION) $(if $(CHAOS_REQUIRE),-chaos.require)

.PHONY: mixed
mixed: build ## kill KILLS (50) leaders under every kind of message at once, judged: groups, delays, transactions, names; MIXED_SEED
	@$(GO) test -c -o bin/mixed.test ./test/mixed
	@cd test/mixed && PROGRAMS=$(CURDIR)/bin ../../bin/mixed.test -test.v -test.run '^TestMixed$$' -test.timeout 30m -mixed.kills $(KILLS) -mixed.seed $(MIXED_SEED)

.PHONY: overload
overload: build ## peak memory of real brokers under everything at once for OVERLOAD_FOR (30s), against limits.memory
	PROGRAMS=$(CURDIR)/bin $(GO) test -count=1 -v -timeout 10m ./test/overload -overload.for $(OVERLOAD_FOR)

# A measurement, in a test's clothes.
MEASURE = PROGRAMS=$(CURDIR)/bin $(GO) test -count=1 -v -timeout 60m ./test/bench -measure.scale $(BENCH_SCALE) -measure.reps $(BENCH_REPS) \
	-measure.only '$(BENCH_ONLY)' -measure.commit $(VERSION) $(if $(BENCH_PAGE),-measure.page $(CURDIR)/$(BENCH_PAGE))

.PHONY: bench
bench: build ## three brokers, the client and the machine's own limits, measured: build/bench.json and a table; BENCH_ONLY, BENCH_REPS (1), BENCH_SCALE (1), BENCH_PAGE
	mkdir -p build
	$(MEASURE) -run '^TestBench$$' -measure.out $(CURDIR)/build/bench.json

.PHONY: bench-curves
bench-curves: build ## how the figures grow with sizes, producers, queues, consumers, backlog, members: build/curves.json and plots; the same settings
	mkdir -p build
	$(MEASURE) -run '^TestCurves$$' -measure.curves -measure.out $(CURDIR)/build/curves.json

.PHONY: bench-peers
bench-peers: build ## other brokers and ours, one after another in one run: build/peers.jsonl and a table; PEERS, PEERS_ONLY, PEERS_REPS (3), BENCH_PAGE
	mkdir -p build
	$(GO) -C test/bench/peers build -o $(CURDIR)/bin/peers .
	bin/peers record -programs $(CURDIR)/bin -version $(VERSION) -reps $(PEERS_REPS) -only '$(PEERS_ONLY)' -out $(CURDIR)/build/peers.jsonl \
		$(if $(PEERS),-peers $(PEERS)) $(if $(BENCH_PAGE),-page $(CURDIR)/$(BENCH_PAGE))

.PHONY: microbench
microbench: ## benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./pkg/...

.PHONY: microbench-compare
microbench-compare: ## the same here and at BASE (a git ref), compared; MICRO_COUNT (6), MICRO_TIME (1s), MICRO_BENCH (.), MICRO_PKGS (./pkg/...)
	tools/perf/compare.sh '$(BASE)' $(MICRO_COUNT) '$(MICRO_BENCH)' '$(MICRO_PKGS)' $(MICRO_TIME)

.PHONY: demo
demo: ## three brokers, traffic, a leader killed every 10 s; DEMO_FOR (60s)
	$(GO) run ./cmd/broker demo --for $(DEMO_FOR)

.PHONY: proto-lint
proto-lint: ## buf lint, and buf breaking against the main branch (the tool takes minutes to build once)
	$(BUF) lint
	@if git rev-parse -q --verify main >/dev/null 2>&1; then \
		echo "$(BUF) breaking --against .git#branch=main"; $(BUF) breaking --against '.git#branch=main'; \
	else echo "buf breaking: no branch main to compare with"; fi

# Without the paths of this machine in it. Everything is compiled anew for that, so
# the binaries for the tests do without.
image: TRIMPATH = -trimpath
.PHONY: image
image: build ## the container image, from the binaries in bin/
	mkdir -p bin/data
	docker build -t $(IMAGE) .

.PHONY: up
up: image ## three brokers in containers; clients at 127.0.0.1:10911,10921,10931
	$(COMPOSE) up -d

.PHONY: down
down: ## stop the containers and forget their data
	$(COMPOSE) down -v

.PHONY: compose
compose: image ## the container test: publish, kill the leader's container, consume
	COMPOSE=1 PROGRAMS=$(CURDIR)/bin $(GO) test -count=1 -v -timeout 10m ./test/compose

.PHONY: ci-long
# A gate is a function of the change: ci has the same seeds each time, also on a machine that
# is faster, so that what passed before a push passes after it. New seeds are for make sim and make chaos.
ci-long: SIM_FOR = $(SIM_CI_FOR)
ci-long: SIM_FROM = 1000000
ci-long: SIM_MOST = 24000
ci-long: CHAOS_SEED = 21
ci-long: FUZZ_FOR = 2s
ci-long: MIXED_SEED = 1
ci-long: DEMO_FOR = 30s
# All of them on a machine as fast as most; a slow one says how many are left out, and keeps to the 45 minutes.
ci-long: MUTANTS_MOST = 12m
ci-long: lint race sim exhaustive crash chaos mixed e2e fuzz proto-lint mutants ## what ci adds to test, cheap to dear; the simulator for SIM_CI_FOR (240s)
	$(GO) run ./cmd/broker demo --for $(DEMO_FOR)

.PHONY: ci
ci: test ci-long ## everything that must pass before a change lands
