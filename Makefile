# Two commands do everything on a fresh Debian 12 with Go, git, make and npm:
#   make run    builds Stoa, starts a cluster and deploys an example on it
#   make test   installs what the tests need and runs them all
# The rest is for those who work on Stoa.

GO ?= go
BIN := bin
export CGO_ENABLED ?= 0

.PHONY: run build test unit compat e2e sim lint bench generate clean

run: build
	@sh scripts/run.sh

build:
	@mkdir -p $(BIN)
	$(GO) build -trimpath -o $(BIN)/stoa ./cmd/stoa
	$(GO) build -trimpath -o $(BIN)/ ./examples/hello ./examples/wordcount

test:
	@sh scripts/need.sh gcc
	$(MAKE) lint unit sim compat

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) test ./internal/lint

# Everything in the main module but the simulator, tests on real processes among it.
unit:
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v /test/sim$$)

# Clients that others wrote, in modules of their own, against a live cluster.
compat:
	cd test/compat && $(GO) test -timeout 15m ./...
	cd test/compat/gomarathon && $(GO) test -timeout 10m ./...
	cd test/compat/codec && $(GO) test ./...

bench: build
	$(GO) run ./test/bench

# Each seed runs on one goroutine, so the race detector would find nothing but time.
sim:
	$(GO) test -timeout 15m ./test/sim

generate:
	@sh scripts/need.sh protobuf-compiler
	$(GO) generate ./...

clean:
	rm -rf $(BIN)
