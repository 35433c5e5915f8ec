# Needs Python 3.11 and make, nothing else. Everything lives in .venv and .diffsensei.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo test test-slow test-long bench bench-gpu check format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(VENV)/installed  ## the virtual environment, with the tested set of versions

$(VENV)/installed: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: install  ## the whole pipeline at tiny size, from drawn pages to the benchmark report
	@$(BIN)/diffsensei run full-pipeline --preset tiny

# A process for each of two cores, of one thread; a file's tests stay together, as they share what is slow to make.
SIDE_BY_SIDE := -n 2 --dist loadfile
ONE_THREAD := OMP_NUM_THREADS=1

test: install  ## the tests that take seconds: all behaviour, in some ten minutes
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow and not long" $(SIDE_BY_SIDE)

test-slow: install  ## the tests that take up to minutes: browsers, clusters, real servers, small trainings
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE)

test-long: install  ## the tests that take many minutes: whole pipelines, killed or followed through
	$(BIN)/python -m pytest -m long --maxfail=1

bench: install  ## how much faster than the plain way: one table of ratios
	@$(BIN)/python -m tests.benchmarks

bench-gpu: install  ## how near one GPU's limit training and drawing come, at the paper's sizes
	@$(BIN)/python -m tests.benchmarks.gpu

check: install  ## style, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## forget every run (the store), keep the installation
	rm -rf .diffsensei
