# `make run` and `make test` each work alone on a fresh clone; both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
# What an installation is made from: the native step is compiled by it.
BUILT := pyproject.toml $(wildcard ponder/runtime/kernels/native/*)
# OpenMP threads that spin between steps starve the other core's work; sleeping costs microseconds.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run test check lint types clean

run: .venv/run
	$(BIN)/python examples/three_strategies.py

test: .venv/dev
	$(BIN)/python -m pytest

check: lint types test

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy
	$(BIN)/pyright

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Ponder needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/run: $(BUILT) | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[all]'
	@touch $@

.venv/dev: $(BUILT) | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
