# Every module with Go files: the root, and nested ones such as benchmarks/.
MODULES := $(shell find . -name go.mod -not -path '*/.*' -not -path '*/testdata/*' -exec dirname {} \; | sort \
	| while read -r dir; do [ -z "$$(find "$$dir" -name '*.go' -print -quit)" ] || echo "$$dir"; done)
TOOL := go tool -modfile=$(CURDIR)/tools/go.mod
TESTSUM := .servers/bin/testsum

# Settings: make fuzz FUZZTIME=1m, make bench PKG=./retry BENCH=Do COUNT=10, make soak SOAK=5m SEED=7
PKG      ?= ./...
BENCH    ?= .
COUNT    ?= 1
FUZZTIME ?= 10s
SOAK     ?= 30m
SEED     ?= 1
REPORT   ?= .servers/report

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: test
test: lint $(TESTSUM) ## everything, with the race detector, against real servers that it starts and stops
	@scripts/with-servers $(TESTSUM) $(MODULES) -- -race -count=1 -timeout=15m ./...
	@$(MAKE) -s planted

.PHONY: planted
planted: ## replay what the search has found of each planted bug: without the race detector, which costs ten times as much
	@go test ./examples/orders -run '^TestPlanted$$' -count=1 -timeout=10m

.PHONY: check
check: lint $(TESTSUM) ## the quick half: lint, and the tests that need no server and no patience
	@CI= $(TESTSUM) $(MODULES) -- -short -timeout=5m ./...

.PHONY: lint
lint: ## go vet, gofumpt and staticcheck
	@for dir in $(MODULES); do (cd "$$dir" && go vet ./... && $(TOOL) staticcheck ./...) || exit 1; done
	@unformatted=$$($(TOOL) gofumpt -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofumpt (make fmt does it):"; echo "$$unformatted"; exit 1; fi

.PHONY: fmt
fmt: ## format every Go file
	@$(TOOL) gofumpt -w .

.PHONY: bench
bench: ## benchmarks, of the nested modules too; with COUNT=10 the output is input for benchstat
	@for dir in $(MODULES); do (cd "$$dir" && go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)) || exit 1; done

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME
	@scripts/fuzz $(FUZZTIME) $(PKG)

.PHONY: cover
cover: ## statement coverage over the whole suite, in cover.out
	@scripts/with-servers go test -count=1 -timeout=15m -coverpkg=./... -coverprofile=cover.out ./...
	@go tool cover -func=cover.out | tail -n 1

# Drills on real parts start servers of their own and end them: with-servers is there to install what is missing.
REAL := scripts/with-servers go run ./examples/orders -parts real -lease 4s -probe 400ms -report $(REPORT)

.PHONY: drill-real
drill-real: ## lose a Region of real PostgreSQL, Redis and SQS servers under load, and come back
	@mkdir -p $(REPORT) && $(REAL) -drill

.PHONY: soak
soak: ## SOAK of random faults on such servers, and a closed account
	@mkdir -p $(REPORT) && $(REAL) -soak $(SOAK) -seed $(SEED)

.PHONY: apidiff
apidiff: ## compare the exported API with that of the revision in scripts/apidiff.base
	@scripts/apidiff

.PHONY: servers
servers: ## start the test servers and leave them up: eval "$(scripts/servers env)"
	@scripts/servers up
	@echo 'next: eval "$$(scripts/servers env)" and go test; at the end: scripts/servers down'

.PHONY: $(TESTSUM)
$(TESTSUM):
	@go build -o $@ ./scripts/testsum
