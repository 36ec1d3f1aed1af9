# Everything a newcomer needs is here: `make demo` and `make test` set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench simulate proofs lock clean

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

test: setup ## every test: SQLite, a real PostgreSQL, real HTTP, real processes
	$(BIN)/python -m pytest

check: setup ## what CI checks before the tests: format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## put the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## measure; ONLY=poll_times runs one part
	$(BIN)/python -m benchmarks $(ONLY)

SEEDS ?= 100
TASKS ?= 1000
SEED ?= 1
simulate: setup ## the engine under simulated faults: SEEDS=n TASKS=m SEED=first
	$(BIN)/python -m simulation --seeds $(SEEDS) --tasks $(TASKS) --seed $(SEED)

PROOF ?= prompts
proofs: setup ## real processes, real kills: PROOF=prompts, kill-sqlite, kill-postgresql, …
	$(BIN)/python -m proofs $(PROOF)

lock: ## pin the requirements again, with hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" pyproject.toml --output-file requirements/base.txt
	build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --group dev pyproject.toml --constraint requirements/base.txt --output-file requirements/dev.txt

clean: ## remove what the targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
