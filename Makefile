# Needs Python 3.11 or newer, git and make; everything else comes from the lock file, with its hashes.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# What runs without a package of the operating system and within ten minutes. .ci/run installs those packages and runs the rest.
EVERYWHERE := not mariadb and not doorkeeper and not redis_server and not browser and not prometheus and not deploy and not pgbouncer and not heavy and not faults and not fuzz and not bench and not compiled

.PHONY: help setup compile demo run test fuzz soak lint format bench bench-setup bench-growth lock wheel sbom clean

help: ## say what there is (this list)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name says; do \
		printf '  make %-13s %s\n' "$$name" "$$says"; done

setup: $(READY) compile ## create .venv from the lock file, and compile

compile: $(READY) ## compile what is on the way of a request, where it has changed; without a C compiler all runs plain
	@$(BIN)/python deploy/compile.py

demo: compile ## play an incident from 401 to answer, with a sample backend; needs no server
	@$(BIN)/scim-witness demo $(ARGS)

run: compile ## run the proxy in front of your backend: make run UPSTREAM=https://scim.example.com
	@$(if $(UPSTREAM),SCIM_WITNESS_UPSTREAM__URL='$(UPSTREAM)' )$(BIN)/scim-witness run --config config/proxy.toml $(ARGS)

test: $(READY) ## run the tests that need no package of the operating system: make test ARGS="-k verdict"
	$(BIN)/python -m pytest -n 2 -m '$(EVERYWHERE)' $(ARGS)

fuzz: $(READY) ## look for inputs that break a parser: make fuzz SECONDS=600
	FUZZ_SECONDS=$(or $(SECONDS),60) $(BIN)/python -m pytest -m fuzz tests/fuzz $(ARGS)

soak: compile ## load with small troubles, to see that memory and descriptors stay flat: make soak MINUTES=30
	SCIM_WITNESS_PURE=0 SOAK_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m pytest -m bench -s tests/faults/test_soak.py $(ARGS)

lint: $(READY) ## check style, types, layers, spelling, dead code and dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell proxy $(wildcard config deploy docs *.md Makefile pyproject.toml .ci)
	$(BIN)/vulture
	$(BIN)/deptry proxy

format: $(READY) ## rewrite the code in the one format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: compile ## measure what the proxy costs a request
	$(BIN)/python -m tests.bench $(ARGS)

bench-setup: $(READY) ## install what the proxy is measured against
	$(BIN)/python -m tests.bench.install

bench-growth: compile ## measure what grows with tokens, tenants, incidents, connections, bodies
	$(BIN)/python -m tests.bench.growth $(ARGS)

lock: $(READY) ## resolve the dependencies anew: make lock ARGS=--upgrade
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet \
		--python-version 3.11 --all-extras --group dev pyproject.toml -o requirements.lock $(ARGS)

wheel: $(READY) ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

sbom: $(READY) ## write what the program is made of (CycloneDX) into dist/
	$(BIN)/python deploy/sbom.py dist/sbom.cdx.json

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) dist build proxy/compiled/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml
	@set -e; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'Python 3.11 or newer with its venv module is needed and was not found (name one: make PYTHON=/path/to/python3.11).' >&2; \
		exit 1; \
	fi; \
	if ! $(BIN)/python -c '' 2>/dev/null; then rm -rf $(VENV); $$python -m venv $(VENV); fi; \
	echo "Setting up $(VENV) from requirements.lock (a minute the first time)" >&2; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	touch $@
