# Everything a newcomer needs is here: `make demo` and `make test` set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup browser demo test check format docs bench simulate proofs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## fill .venv with the pinned requirements

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rushes needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## a batch from prompts to settled videos, against the simulator
	$(BIN)/rushes demo

browser: # the dashboard's tests need Debian's chromium; without it they are skipped, by name
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get install -y -qq chromium >/dev/null; } \
	|| echo "no chromium, and it cannot be installed here: the dashboard's tests will be skipped" >&2

test: setup browser ## every test, two at a time: SQLite, a real PostgreSQL, real HTTP, real processes, a real browser
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: setup ## what CI checks before the tests: format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## the documentation site, into build/site; a broken link or a page without a place in it is an error
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	$(BIN)/python -m reference
	$(BIN)/python -m pytest -q tests/test_docs.py
	rm -rf build/site
	$(BIN)/zensical build --clean --strict

bench: setup ## measure; ONLY=poll runs one part, PEERS=1 adds DBOS, Procrastinate and Celery
ifdef PEERS
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
endif
	$(BIN)/python -m benchmarks $(ONLY)

SEEDS ?= 100
TASKS ?= 1000
SEED ?= 1
simulate: setup ## the engine under simulated faults: SEEDS=n TASKS=m SEED=first
	$(BIN)/python -m simulation --seeds $(SEEDS) --tasks $(TASKS) --seed $(SEED)

proofs: setup ## real processes, real kills: the long versions
	$(BIN)/python -m proofs all

COMPILE := build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" pyproject.toml
lock: ## pin the requirements again, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	$(COMPILE) --all-extras --output-file requirements/base.txt
	for group in dev docs bench; do $(COMPILE) --all-extras --group $$group --constraint requirements/base.txt --output-file requirements/$$group.txt || exit 1; done

clean: ## remove what the targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
