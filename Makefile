# `make` lists the targets. Everything sets itself up in .venv; nothing is installed elsewhere.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORK := .local
PORT := 8000
RUN := tests/fixtures/guide-board
# The newest suitable Python on the PATH; override with `make PYTHON=/path/to/python3.12 ...`.
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo dev smoke test test-faults test-servers test-long test-large planted-bugs original check format lint types layers docs bench lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Create .venv with the locked dependencies

$(STAMP): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; none was found on the PATH" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Store a run, verify it, fetch one file back and compare it
	@PATH="$(abspath $(BIN)):$$PATH" scripts/demo.sh tests/fixtures/guide-board $(WORK)/demo

dev: $(STAMP) ## Run a server with a token of its own until Ctrl-C (PORT=8000)
	@$(BIN)/python scripts/dev.py $(WORK)/dev $(PORT)

smoke: $(STAMP) ## The smoke procedure against a server of its own (RUN=tests/fixtures/guide-board)
	@$(BIN)/python scripts/smoke.py "$(RUN)" $(WORK)/smoke

test: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest

test-faults: $(STAMP) ## Tests that need strace and a small tmpfs; missing tools fail
	$(BIN)/python -m pytest tests/faults -p no:cacheprovider --faults

test-servers: $(STAMP) $(WORK)/localstack/.installed ## Tests on LocalStack and on Debian's PostgreSQL 15; a missing one fails
	$(BIN)/python -m pytest tests/servers -p no:cacheprovider --servers
	TEST_POSTGRESQL=/usr/lib/postgresql/15 $(BIN)/python -m pytest -p no:cacheprovider -k postgres \
		tests/integration/test_postgres.py tests/integration/test_ingest.py tests/integration/test_events.py \
		tests/integration/test_writers.py tests/integration/test_verify.py tests/integration/test_storage_probe.py

$(WORK)/localstack/.installed: tests/servers/localstack.txt
	@test -x $(WORK)/localstack/bin/python || "$(PYTHON)" -m venv $(WORK)/localstack
	@echo "installing LocalStack into $(WORK)/localstack (about 200 MB) ..."
	@$(WORK)/localstack/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

test-long: $(STAMP) ## The kill, model and soak tests with many more rounds
	LONG=1 $(BIN)/python -m pytest tests/integration tests/pilots

test-large: $(STAMP) ## What every statement reads among 1,000,000 packages, on both databases
	LONG=1 $(BIN)/python -m pytest tests/integration/test_plans.py

planted-bugs: $(STAMP) ## Plant each known bug in a copy of this tree; its tests must notice (about 5 minutes)
	$(BIN)/python -m scripts.plant_bugs

original: $(WORK)/original/.installed ## The published ingest of testing-os, from npm, for its tests and ONLY=testing-os (needs Node)

$(WORK)/original/.installed: benchmarks/testing_os/original/package.json benchmarks/testing_os/original/package-lock.json
	@command -v npm >/dev/null || { echo "Node with npm is needed; neither was found on the PATH" >&2; exit 1; }
	@mkdir -p $(@D) && cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

check: format lint types layers test docs ## Everything CI checks

format: $(STAMP) ## Is everything formatted? (mend with `.venv/bin/ruff format .`)
	$(BIN)/ruff format --check --quiet .

lint: $(STAMP) ## Lint
	$(BIN)/ruff check --quiet .

types: $(STAMP) ## Type-check
	$(BIN)/mypy

layers: $(STAMP) ## Who imports whom
	$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

docs: $(STAMP) ## Does the documentation name everything there is?
	$(BIN)/python -m pytest --quiet tests/test_docs.py

bench: $(STAMP) ## Our numbers beside the floor's and the peers' (about an hour; ONLY=embedded, http, servers, provenance, testing-os or life-cycle)
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

lock: ## Resolve the dependencies anew into requirements.lock and, for the image, requirements-runtime.lock (needs uv)
	uv pip compile --universal --all-extras --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--group dev pyproject.toml --output-file requirements.lock --upgrade
	uv pip compile --universal --extra server --extra s3 --extra postgres --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 pyproject.toml --constraint requirements.lock --output-file requirements-runtime.lock

clean: ## Remove what the targets made
	rm -rf $(VENV) $(WORK) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
