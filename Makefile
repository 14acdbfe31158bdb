# Quorate: one command for each thing that is done with this repository. `make help` lists them.

# Arguments for the demo and the bench: make demo ARGS=--once
ARGS ?=

# cargo-deny is used from PATH when it is there; otherwise this version is built once, for all checkouts.
CARGO_DENY_VERSION := 0.20.2
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/quorate/tools

# Where the demo keeps everything of its own, cluster.json too.
DEMO_DIR ?= $(CURDIR)/target/demo
export DEMO_DIR

# A CI run must see the committed Cargo.lock; at the desk cargo may add a dependency to it.
LOCKED := $(if $(CI),--locked)

# Where cargo puts its output; follows CARGO_TARGET_DIR and cargo's own configuration. Evaluated when used.
TARGET_DIR = $(shell cargo metadata --format-version 1 --no-deps 2>/dev/null \
	| sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')

# Every cargo command selects the whole workspace, because the selection decides the features of the
# dependencies: a narrower one would build RocksDB, which takes over ten minutes, a second time.
BINARIES := --workspace --bins
EVERYTHING := --workspace --bins --tests

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test fuzz bench build check fmt lint docs deny tidy

help: ## List the targets
	@echo 'Quorate: make TARGET'
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

setup: ## Install every missing system package (build, test, bench)
	@scripts/setup build test bench

demo: ## Start a portal and four nodes, activate, and stay until Ctrl-C (ARGS=--once: check and stop; DEMO_DIR=...)
	@scripts/setup build
	@scripts/build $(BINARIES) $(LOCKED)
	@exec "$(TARGET_DIR)/debug/demo" $(ARGS)

test: ## Run every test: units, storage suite, portal on both databases, real clusters
	@scripts/setup build test
	@scripts/build $(EVERYTHING) $(LOCKED)
	cargo test --workspace $(LOCKED)
	@# The crash tests must find deliberate faults: the store is built once more with them, and nothing else.
	cargo test --workspace --features quorate-raft-store/mutants --test crash $(LOCKED) -- --mutant all

fuzz: ## Give every parser changed bytes, 10 minutes each (ARGS='--seconds 60 --target tokens --seed 7')
	@scripts/setup build
	@scripts/build $(EVERYTHING) $(LOCKED)
	cargo test --workspace --test fuzz $(LOCKED) -- $(or $(ARGS),--seconds 600)

bench: ## Measure changes and reads beside etcd in the same run (ARGS=failover|growth|catch-up|idle|promises)
	@scripts/setup build bench
	@# Our own code as for a release; the dependencies are built so anyway, so RocksDB is not built again.
	@CARGO_PROFILE_DEV_OPT_LEVEL=3 CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false \
		CARGO_PROFILE_DEV_OVERFLOW_CHECKS=false scripts/build $(BINARIES) $(LOCKED)
	@exec "$(TARGET_DIR)/debug/bench" $(ARGS)

build: ## Build the programs
	@scripts/setup build
	@scripts/build $(BINARIES) $(LOCKED)

check: fmt lint docs deny tidy ## Format, clippy, rustdoc, dependencies, invariants: what CI checks before the tests
	@echo 'check: clean'

fmt: ## Check the formatting (cargo fmt --all repairs it)
	cargo fmt --all --check

lint: ## Run clippy on all targets; a warning is an error
	@scripts/setup build
	@scripts/build --announce
	cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	@# The pure part of the store alone, as fuzzing and simulation use it.
	cargo clippy -p quorate-raft-store --no-default-features $(LOCKED) -- -D warnings

docs: ## Build the documentation; a warning is an error
	@scripts/setup build
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps $(LOCKED)

deny: ## Check licenses, bans and sources of the dependencies; advisories where their database can be had
	@CARGO_DENY_VERSION=$(CARGO_DENY_VERSION) scripts/deny "$(TOOLS)"

tidy: ## Check the invariants that ARCHITECTURE.md names
	@scripts/setup build
	cargo test --workspace --test tidy $(LOCKED)
