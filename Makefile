# Everything a newcomer needs is here: `make demo` and `make test` set up .venv themselves.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
STAMP := $(VENV)/.installed
# installs pinned requirements and counts the packages as they come
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-color --progress-bar off --require-hashes
COUNT := awk '/^(Collecting|Processing)/ { printf "\r  %d packages", ++n; fflush() } /^Installing/ { printf "\r  %d packages, installing", n; fflush() } /rror/ { print } END { print "" }'

# sources are compiled once, and not by each of the processes that tests and proofs start
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup core browser demo test wide busy check format docs clients bench simulate mutants proofs lock sbom release vulnerabilities clean sequences

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

core: $(CORE) ## install only what rushes needs to run into .venv

$(CORE): requirements/base.txt requirements/build.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rushes needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing the core into $(VENV) ($$(grep -c == requirements/base.txt) pinned packages)"
	@$(INSTALL) -r requirements/base.txt -r requirements/build.txt | $(COUNT)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(CORE)

setup: $(STAMP) ## install the whole development environment into .venv

$(STAMP): requirements/dev.txt $(CORE)
	@echo "Installing the development environment into $(VENV) ($$(grep -c == requirements/dev.txt) pinned packages)"
	@$(INSTALL) -r requirements/dev.txt | $(COUNT)
	@touch $(STAMP)

demo: core ## run a batch from prompts to settled videos, against the simulator
	$(BIN)/rushes demo

browser: # the dashboard's tests need Debian's chromium; without it they are skipped, by name
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get install -y -qq chromium >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq chromium >/dev/null; }; }; } \
	|| echo "no chromium, and it cannot be installed here: the dashboard's tests will be skipped" >&2

CORES := $(shell getconf _NPROCESSORS_ONLN)
AT_ONCE ?= $(shell [ $(CORES) -lt 4 ] && expr 1 + 2 \* $(CORES) || echo 8)# tests mostly wait: more than there are cores
test: setup browser ## run every test, AT_ONCE=n at a time: SQLite, a real PostgreSQL, real HTTP, real processes, a real browser
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder --durations=50 --durations-min=1 $(TESTS) \
	|| { echo "FAILED above; what failed beside others is run once more, alone" >&2; \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(TESTS); }

ROUNDS ?= 3
wide: setup ## draw other examples than `make test` does, in the tests that draw some: ROUNDS=n
	@for round in $$(seq $(ROUNDS)); do \
	HYPOTHESIS_PROFILE=wide $(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile -q $$(grep -lrE "hypothesis|schemathesis" tests --include="test_*.py") || exit 1; done

LOOPS ?= 8
busy: setup browser ## run the tests beside busy loops, where none may fail for having to wait: LOOPS=n TESTS="tests/cli …"
	@trap 'kill $$(jobs -p) 2>/dev/null' EXIT; for n in $$(seq $(LOOPS)); do (while :; do :; done) & done; \
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder --durations=50 --durations-min=1 $(TESTS)

check: setup ## run what CI checks before the tests: format, lint, types, layers, the sync client
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m reference.sync_client --check

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## build the documentation site into build/site; a broken link or an unlisted page is an error
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	$(BIN)/python -m reference
	$(BIN)/python -m pytest -q tests/test_docs.py
	rm -rf build/site
	$(BIN)/zensical build --clean --strict

clients: setup ## run official SDKs and other clients against the simulator, and compare what they send with what rushes sends
	$(BIN)/python -m clients
	$(BIN)/python -m clients.front

bench: setup ## run the benchmarks; ONLY=poll runs one part, PEERS=1 adds DBOS, Procrastinate and Celery
ifdef PEERS
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
endif
	$(BIN)/python -m benchmarks $(ONLY)

SEEDS ?= 100
TASKS ?= 1000
SEED ?= 1
simulate: setup ## run the engine under simulated faults: SEEDS=n TASKS=m SEED=first
	$(BIN)/python -m simulation --seeds $(SEEDS) --tasks $(TASKS) --seed $(SEED)

SEQUENCES ?= 10000
sequences: setup ## let two tenants call the service in random order, against a model: SEQUENCES=n on each database
	RUSHES_TEST_SEQUENCES=$(SEQUENCES) $(BIN)/python -m pytest tests/api/test_two_tenants.py

MUTANTS ?= 300
HOURS ?= 3
mutants: setup ## mutate the engine in small ways, each of which a test must notice: MUTANTS=n SEED=which HOURS=n
	$(BIN)/python -m mutation --mutants $(MUTANTS) --seed $(SEED) --hours $(HOURS) --processes 2

proofs: setup ## run the long proofs: real processes, real kills
	$(BIN)/python -m proofs all

COMPILE := build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock"
lock: ## pin the requirements again, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements/base.txt
	$(COMPILE) --group build --output-file requirements/build.txt
	for extra in mcp provenance video; do $(COMPILE) pyproject.toml --extra $$extra --constraint requirements/base.txt --output-file requirements/$$extra.txt || exit 1; done
	for group in dev docs bench; do $(COMPILE) pyproject.toml --all-extras --group $$group --constraint requirements/base.txt --output-file requirements/$$group.txt || exit 1; done

sbom: setup ## write a bill of materials (CycloneDX) of the pinned requirements with their licences to build/sbom.json
	$(BIN)/python -m release.sbom

release: setup ## make a release: VERSION=0.2.0; changelog, version, wheel, sdist, SBOM, checks, tag; nothing is uploaded
	$(BIN)/python -m release.making $(VERSION)

vulnerabilities: ## check the pinned requirements with pip-audit; skipped with a message when its data cannot be reached
	@$(PYTHON) -m venv build/audit
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit \
	|| { echo "skipped: pip-audit cannot be installed here" >&2; exit 0; }; \
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes --timeout 10 \
	--requirement requirements/base.txt 2>build/audit/log; \
	code=$$?; tail -3 build/audit/log >&2; \
	if [ $$code != 0 ] && grep -qiE 'connection|resolve|timed out|proxy|unreachable|HTTPError|Client Error|Server Error|not found on PyPI' build/audit/log; \
	then echo "skipped: pip-audit cannot reach its data from here" >&2; else exit $$code; fi

clean: ## remove everything that the targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
