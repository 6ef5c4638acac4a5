# make run, make test: each sets up what is missing first. Needs Python 3.11 or newer, Java 17, Maven.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SOURCES := dosestream services tests examples/python $(wildcard bench/*.py deploy/*/*.py)
# So many processes share the tests, each with the servers its tests need: one more than there are cores on a small
# machine, since half of the time a test waits for another process.
JOBS ?= 3
# The tests start hundreds of processes: without its compiled form each would compile the code again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-long check bench compiled lint clean

help:
	@echo "make run        everything embedded, a simulated hospital day, until Ctrl-C"
	@echo "make test       every test"
	@echo "make check      lint, types, and the quick tests, which need no servers: under a minute"
	@echo "make setup      .venv and the broker's jars; also: test-long bench compiled lint clean"

setup: .venv/installed
	@$(BIN)/python -m dosestream.embedded

.venv/bin/pip:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version'
	$(PYTHON) -m venv .venv

.venv/locked: requirements.lock | .venv/bin/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/installed: pyproject.toml .venv/locked
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup
	@exec $(BIN)/dosestream up $(UP)

test: setup
	$(BIN)/python -m pytest -n $(JOBS) -m "not long" --durations=25 --durations-min=5

test-long: export MYPYC_OPT_LEVEL ?= 3
test-long: setup
	$(BIN)/python -m pytest -m long

check: lint
	$(BIN)/mypy $(SOURCES)
	$(BIN)/python -m pytest -q -n logical -m "not stack and not long and not slow" tests/unit

lint: .venv/installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

bench: setup
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# The packages with ingest's hot path compiled: PYTHONPATH=build/compiled .venv/bin/dosestream ingest
compiled: .venv/installed
	@echo "compiling what changed: up to two minutes"
	@$(BIN)/python deploy/compiled/hatch_build.py build/compiled

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
